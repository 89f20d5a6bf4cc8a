"""Pictures of an evaluation: predicted and labelled skeletons, and errors per joint, as PNG files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from svf_edge.data.skeleton import JOINT_NAMES, SKELETON
from svf_edge.errors import MissingPackage
from svf_edge.files import atomic_write
from svf_edge.tasks.pose_metrics import joint_errors, person_size

if TYPE_CHECKING:
    from svf_edge.runtimes.evaluation import EvalReport, Evaluated

LABEL, PREDICTED = "#ffd43b", "#e8590c"
INK, ACCENT = "#1f2933", "#0b7285"
SHOWN = 6


def write_pictures(result: Evaluated, folder: str | Path) -> list[Path]:
    """Write overlays of up to `SHOWN` clips, from the best to the worst, and per-joint bars into `folder`.

    Raises `MissingPackage` without matplotlib.
    """
    folder = Path(folder)
    paths = []
    for rank, index in enumerate(_chosen(result)):
        path = folder / f"overlay-{rank}-{result.data.kinds[index]}.png"
        _overlay(result, index, path)
        paths.append(path)
    bars = folder / "joints.png"
    _bars(result.report, bars)
    return [*paths, bars]


def _chosen(result: Evaluated) -> list[int]:
    """Clips at even steps from the least to the greatest error relative to the person."""
    clips = result.data.clips
    visible = clips["visible"].bool()
    size = person_size(clips["joints"], visible)[..., None].clamp(min=1)
    errors = np.where(visible, joint_errors(result.points, clips["joints"]) / size, 0).sum((1, 2))
    counted = visible.sum(dim=(1, 2)).numpy()
    order = [int(i) for i in np.argsort(errors / np.maximum(counted, 1), kind="stable") if counted[i]]
    steps = np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int)
    return [order[step] for step in steps]


def _overlay(result: Evaluated, index: int, path: Path) -> None:
    frames = result.data.clips["frames"][index].numpy()
    labels, visible = result.data.clips["joints"][index].numpy(), result.data.clips["visible"][index].numpy()
    points = result.points[index].numpy()
    steps = np.linspace(0, len(frames) - 1, min(len(frames), 4)).round().astype(int)
    height, width = frames.shape[-2:]
    with _figure(2.6 * len(steps), 2.6 * height / width + 0.3, len(steps)) as (figure, axes):
        for axis, step in zip(np.ravel(axes), steps, strict=True):
            axis.imshow(frames[step].transpose(1, 2, 0), extent=(0, width, height, 0), interpolation="nearest")
            _skeleton(axis, labels[step], visible[step], LABEL)
            _skeleton(axis, points[step], np.ones(len(JOINT_NAMES), dtype=bool), PREDICTED)
            axis.set(xlim=(0, width), ylim=(height, 0))
            axis.axis("off")
        figure.suptitle(f"{result.data.kinds[index]}: label yellow, predicted orange", fontsize=9, color=INK)
        _save(figure, path)


def _skeleton(axis: Any, points: Any, shown: Any, colour: str) -> None:
    for start, end in SKELETON:
        if shown[start] and shown[end]:
            axis.plot(*points[[start, end]].T, color=colour, lw=1.6, solid_capstyle="round")
    axis.scatter(*points[shown].T, s=9, color=colour, edgecolors="black", linewidths=0.4, zorder=3)


def _bars(report: EvalReport, path: Path) -> None:
    names: Sequence[str] = ("pck@0.2", "mpjpe_px")
    rows = np.arange(len(JOINT_NAMES))
    with _figure(9, 4, len(names)) as (figure, axes):
        for axis, name in zip(axes, names, strict=True):
            values = [report.scores.per_joint[name][joint] for joint in JOINT_NAMES]
            axis.barh(rows, [np.nan if value is None else value for value in values], height=0.7, color=ACCENT)
            whole = report.scores.overall[name].value
            if whole is not None:
                axis.axvline(whole, color=PREDICTED, lw=1.5)
            axis.set_yticks(rows, JOINT_NAMES, fontsize=8)
            axis.invert_yaxis()
            axis.set_xlabel(f"{name} (line: all joints)")
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
