"""Pictures of an evaluation: predictions and labels on frames, and the metric of every part, as PNG files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from svf_edge.data.sample import chosen
from svf_edge.errors import MissingPackage
from svf_edge.files import atomic_write
from svf_edge.tasks.drawing import PREDICTED

if TYPE_CHECKING:
    from svf_edge.runtimes.evaluation import EvalReport, Evaluated

INK, ACCENT = "#1f2933", "#0b7285"
SHOWN = 6


def write_pictures(result: Evaluated, folder: str | Path) -> list[Path]:
    """Write up to `SHOWN` clips, from the best to the worst, and bars of the parts (joints, classes) into `folder`.

    Raises `MissingPackage` without matplotlib.
    """
    folder = Path(folder)
    paths = []
    for rank, index in enumerate(_examples(result)):
        path = folder / f"overlay-{rank}-{result.data.kinds[index]}.png"
        _overlay(result, index, path)
        paths.append(path)
    bars = folder / "parts.png"
    _bars(result.report, bars)
    return [*paths, bars]


def _examples(result: Evaluated) -> list[int]:
    """Clips at even steps from the best to the worst in the task's metric."""
    measures = result.task.measures(result.predicted, result.data.clips, result.data.groups)
    values = np.array([measures[result.task.headline].of([i]).value() for i in range(len(result.predicted))])
    order = [int(i) for i in np.argsort(-values, kind="stable") if not np.isnan(values[i])]
    steps = np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int)
    return [order[step] for step in steps]


def _overlay(result: Evaluated, index: int, path: Path) -> None:
    clip = chosen(result.data.clips, index)
    frames = clip["frames"].numpy()
    steps = np.linspace(0, len(frames) - 1, min(len(frames), 4)).round().astype(int)
    height, width = frames.shape[-2:]
    with _figure(2.6 * len(steps), 2.6 * height / width + 0.3, len(steps)) as (figure, axes):
        for axis, step in zip(np.ravel(axes), steps, strict=True):
            frame = frames[step]
            picture = frame.transpose(1, 2, 0) if len(frame) == 3 else frame.max(0)
            axis.imshow(picture, extent=(0, width, height, 0), interpolation="nearest", cmap="gray")
            result.task.show(axis, result.predicted[index], clip, int(step))
            axis.set(xlim=(0, width), ylim=(height, 0))
            axis.axis("off")
        figure.suptitle(f"{result.data.kinds[index]}: label yellow", fontsize=9, color=INK)
        _save(figure, path)


def _bars(report: EvalReport, path: Path) -> None:
    metrics = list(report.scores.per_part)[:2]
    parts = list(report.scores.per_part[metrics[0]])
    rows = np.arange(len(parts))
    with _figure(9, max(2.0, 0.3 * len(parts)), len(metrics)) as (figure, axes):
        for axis, name in zip(np.ravel(axes), metrics, strict=True):
            values = [report.scores.per_part[name][part] for part in parts]
            axis.barh(rows, [np.nan if value is None else value for value in values], height=0.7, color=ACCENT)
            whole = report.scores.overall.get(name)
            if whole is not None and whole.value is not None:
                axis.axvline(whole.value, color=PREDICTED, lw=1.5)
            axis.set_yticks(rows, parts, fontsize=8)
            axis.invert_yaxis()
            axis.set_xlabel(f"{name} (line: all)")
            axis.spines[["top", "right"]].set_visible(False)
        _save(figure, path)


@contextmanager
def _figure(width: float, height: float, columns: int) -> Iterator[tuple[Any, Any]]:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingPackage("matplotlib", "report") from error
    figure = Figure(figsize=(width, height))
    yield figure, figure.subplots(1, columns)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout(pad=0.5)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
