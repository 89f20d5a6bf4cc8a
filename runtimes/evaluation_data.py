"""Labelled clips to evaluate on: synthetic, the shipped real ones, or the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, Subset

from svf_edge.data.events import EventCamera, EventClips
from svf_edge.data.formats.clips import FormatDataset
from svf_edge.data.mocap import MOTION_NAMES
from svf_edge.data.sample import UNKNOWN_CLASS, UNKNOWN_PIXEL, Sample, stack_samples
from svf_edge.data.source import KINDS, CocoSource, DataSource, Shortened, SyntheticSource, parse_source
from svf_edge.data.synthetic import GENERATOR_VERSION
from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.runtimes.base import Progress, no_progress
from svf_edge.shipped import REAL_LABELS
from svf_edge.tasks.task import Task, require_labels

BASELINE_CLIPS = 128
"""Training clips that the baselines are fitted on."""


@dataclass(frozen=True)
class EvaluationClips:
    """Stacked clips, with each clip's kind (`[N]`, its class or video) and the group that it is drawn with (`[N]`).

    `known` are training clips of the same sort, for baselines.
    """

    name: str
    description: str
    clips: Sample
    kinds: Sequence[str]
    groups: Sequence[int]
    known: Dataset[Sample]


def load_evaluation(
    data: str, count: int | None, task: Task, camera: EventCamera | None = None, show: Progress = no_progress
) -> EvaluationClips:
    """`count` clips with the labels of `task` in the shape that its model takes, or all there are (500 synthetic ones).

    `data` is "synthetic" (for joints and masks motions that training never shows, for classes all of them), "real"
    (the shipped videos with pseudo-labels of joints), KIND:FOLDER of a data set (`svf_edge.data.source`), a COCO key
    point JSON beside its videos, or a folder with one. A model of events sees what `camera` makes of the pixels.
    Raises `UnsupportedInput` or `BadFile`.
    """
    synthetic = SyntheticSource(motions="classes" if task.needs == "class" else "split", events=camera)
    kind, colon, folder = data.partition(":")
    if data == "synthetic":
        require_labels(task, synthetic, "--data synthetic")
        return _synthetic(synthetic, count or 500, task, show)
    if colon and kind in KINDS[1:]:
        source = parse_source({"kind": kind, "folder": folder})
        if camera is not None and "events" in type(source).model_fields:
            source = source.model_copy(update={"events": camera})
        return _labelled(data, f"validation clips of {folder}", source, source, count, task, show)
    if data == "real":
        what = "clips of real videos, against pseudo-labels of a peer model (BlazePose full), which are no ground truth"
        return _labelled("real", what, _coco(REAL_LABELS, camera), synthetic, count, task, show)
    path = Path(data)
    if not path.exists():
        raise UnsupportedInput(
            f"--data {data}: no such file; give synthetic, real, KIND:FOLDER (kinds: {', '.join(KINDS[1:])}), a key "
            "point JSON or its folder"
        )
    file = _annotations(path)
    what = f"clips, against the labels of {file.name}"
    return _labelled(file.name, what, _coco(file, camera), synthetic, count, task, show)


def training_clips(known: Dataset[Sample], show: Progress = no_progress) -> Sample:
    """The training clips that baselines are fitted on."""
    return stack_samples(_Watched(known, "training clips for the baseline", show))


def _synthetic(source: SyntheticSource, count: int, task: Task, show: Progress) -> EvaluationClips:
    config = task.config
    clips = stack_samples(_Watched(source.open("val", config.frames, task.size, clips=count), "rendering", show))
    kinds = [MOTION_NAMES[int(label)] for label in clips["label"]]
    of = "all motions by unseen people" if source.motions == "classes" else "motions that training never shows"
    what = f"synthetic clips of {of} (generator version {GENERATOR_VERSION})"
    known = source.open("train", config.frames, task.size, clips=BASELINE_CLIPS)
    return EvaluationClips("synthetic", what, clips, kinds, range(count), known)


def _labelled(
    name: str, what: str, source: DataSource, known: DataSource, count: int | None, task: Task, show: Progress
) -> EvaluationClips:
    config, size = task.config, task.size
    names = require_labels(task, source, f"--data {name}")
    if (source.channels, source.input) != (config.channels, config.input):
        raise UnsupportedInput(
            f"--data {name}: its clips have {source.channels} channels of {source.input}, the model takes "
            f"{config.channels} of {config.input}"
        )
    camera: EventCamera | None = getattr(source, "events", None)
    steps = config.frames + (camera is not None)
    there = source.clips("val", steps, size, 0)
    length = len(there)  # type: ignore[arg-type]
    chosen = np.unique(np.linspace(0, length - 1, min(count or length, length)).round().astype(int)).tolist()
    shown: Dataset[Sample] = Shortened(Subset(there, chosen), steps)
    clips = stack_samples(_Watched(shown if camera is None else EventClips(shown, camera), "reading", show))
    if not _labels(task, clips).any():
        raise BadFile(
            f"--data {name}: nothing that a {config.head.kind} head is measured on is labelled in any clip of "
            f"{config.frames} frames (no joint is visible, no class or mask is given); nothing can be measured"
        )
    shows = [there.group(index) if isinstance(there, FormatDataset) else str(index) for index in chosen]
    groups = {group: number for number, group in enumerate(dict.fromkeys(shows))}
    kinds = [Path(group).stem for group in shows]
    if task.needs == "class":
        kinds = [names[int(label)] if label != UNKNOWN_CLASS else "unknown" for label in clips["label"]]
    trained = known.open("train", config.frames, size, clips=BASELINE_CLIPS)
    return EvaluationClips(name, what, clips, kinds, [groups[group] for group in shows], trained)


def _labels(task: Task, clips: Sample) -> Tensor:
    """Which labels of the task's kind are known."""
    return {
        "joints": clips["visible"],
        "joints3d": clips["joints3d"].isfinite(),
        "class": clips["label"] != UNKNOWN_CLASS,
        "mask": clips["mask"] != UNKNOWN_PIXEL,
    }[task.needs]


def _coco(file: Path, camera: EventCamera | None) -> CocoSource:
    folder = next((file.parent / name for name in ("videos", "images") if (file.parent / name).is_dir()), file.parent)
    return CocoSource(kind="coco", folder=folder, annotations=file, val_share=1.0, events=camera)


def _annotations(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(path.glob("*.json"))
    if len(found) != 1:
        held = ", ".join(file.name for file in found) or "none"
        raise BadFile(f"{path}: one JSON file with key points is needed in the folder ({held}); give the file itself")
    return found[0]


class _Watched(Dataset[Sample]):
    """A data set that shows how far it was read."""

    def __init__(self, clips: Dataset[Sample], what: str, show: Progress) -> None:
        self.clips, self.what, self.show = clips, what, show

    def __len__(self) -> int:
        return len(self.clips)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Sample:
        self.show(self.what, index / len(self))
        return self.clips[index]
