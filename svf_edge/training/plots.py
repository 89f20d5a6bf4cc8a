"""Pictures of a run: curves, firing rates over layers and epochs, predictions beside labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from svf_edge.data.sample import Sample, chosen
from svf_edge.errors import MissingPackage
from svf_edge.files import atomic_write
from svf_edge.tasks.task import Task
from svf_edge.training.history import Row

RATE_PREFIX = "rate/"
SHARES = ("val/pck", "val/top", "val/miou", "val/pixel", "val/vc")
"""Metrics between 0 and 1."""


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackage("matplotlib", "report") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _write(figure: Any, path: Path) -> None:
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def _phase_ends(rows: Sequence[Row]) -> list[float]:
    """Where one phase follows another, between two rows."""
    return [i + 0.5 for i in range(1, len(rows)) if rows[i]["phase"] != rows[i - 1]["phase"]]


def draw_curves(rows: Sequence[Row], path: Path) -> None:
    """Loss terms, validation accuracy, firing rate and learning rate over epochs."""
    figure = _figure(11, 7)
    epochs = np.arange(1, len(rows) + 1)
    panels = {
        "loss": [name for name in rows[-1] if name.startswith("loss")],
        "validation": [name for name in rows[-1] if name.startswith(SHARES)],
        "firing rate": ["rate", "val/firing_rate"],
        "learning rate": ["learning_rate"],
    }
    for axes, (title, names) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
        for name in names:
            axes.plot(epochs, [row.get(name, np.nan) for row in rows], marker=".", label=name)
        for end in _phase_ends(rows):
            axes.axvline(end, color="grey", linewidth=0.8, linestyle=":")
        axes.set(title=title, xlabel="epoch")
        axes.locator_params(axis="x", integer=True)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    _write(figure, path)


def draw_rates(rows: Sequence[Row], path: Path) -> None:
    """Firing rate of every layer (rows, in running order) in every epoch (columns) on the validation clips."""
    layers = [name for name in rows[-1] if name.startswith(RATE_PREFIX)]
    rates = np.array([[row.get(name, np.nan) for row in rows] for name in layers], dtype=float)
    figure = _figure(5 + min(len(rows), 100) * 0.12, 1.5 + len(layers) * 0.22)
    axes = figure.subplots()
    extent = (0.5, len(rows) + 0.5, len(layers) - 0.5, -0.5)
    image = axes.imshow(
        rates, extent=extent, aspect="auto", vmin=0, vmax=max(0.2, float(np.nanmax(rates))), cmap="viridis"
    )
    for end in _phase_ends(rows):
        axes.axvline(end, color="white", linewidth=1)
    axes.set_yticks(range(len(layers)), [name.removeprefix(RATE_PREFIX) for name in layers], fontsize="x-small")
    axes.locator_params(axis="x", integer=True)
    axes.set(xlabel="epoch", title="spikes per level")
    figure.colorbar(image, ax=axes)
    _write(figure, path)


def draw_examples(task: Task, clips: Sample, predicted: Tensor, step: int, path: Path) -> None:
    """Labels (yellow) and predictions on frame `step` of stacked clips."""
    count = len(predicted)
    columns = min(4, count)
    rows = -(-count // columns)
    figure = _figure(2.6 * columns, 2.6 * rows)
    height, width = clips["frames"].shape[-2:]
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels:
        axes.axis("off")
    for index, axes in enumerate(panels[:count]):
        frame = clips["frames"][index, step]
        picture = frame.permute(1, 2, 0) if len(frame) == 3 else frame.float().mean(0)  # events: grey
        axes.imshow(picture.numpy(), extent=(0, width, height, 0), cmap="gray")
        task.show(axes, predicted[index], chosen(clips, index), step)
        axes.set(xlim=(0, width), ylim=(height, 0))
    _write(figure, path)
