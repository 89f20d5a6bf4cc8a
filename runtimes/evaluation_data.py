"""Labelled clips to evaluate on: synthetic, the shipped real ones, or the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset, Subset

from svf_edge.data import mocap
from svf_edge.data.sample import PoseSample, stack_samples
from svf_edge.data.synthetic import GENERATOR_VERSION, SyntheticPoseDataset
from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.runtimes.base import Progress, no_progress
from svf_edge.shipped import REAL_LABELS

BASELINE_CLIPS = 128
"""Training clips that the baselines are fitted on."""


@dataclass(frozen=True)
class EvaluationClips:
    """Stacked clips, with each clip's kind (`[N]`, its motion or video) and the group that it is drawn with (`[N]`)."""

    name: str
    description: str
    clips: PoseSample
    kinds: Sequence[str]
    groups: Sequence[int]


def load_evaluation(
    data: str, count: int | None, frames: int, size: tuple[int, int], show: Progress = no_progress
) -> EvaluationClips:
    """`count` clips of `frames` frames of `size` (height, width), or all there are (500 of synthetic ones).

    `data` is "synthetic" (motions that training never shows), "real" (the shipped videos with pseudo-labels), a COCO
    key point JSON beside its videos, or a folder with one. Raises `UnsupportedInput` or `BadFile`.
    """
    if data == "synthetic":
        return _synthetic(count or 500, frames, size, show)
    if data == "real":
        what = "clips of real videos, against pseudo-labels of a peer model (BlazePose full), which are no ground truth"
        return _labelled("real", what, REAL_LABELS.parent, REAL_LABELS, count, frames, size, show)
    path = Path(data)
    if not path.exists():
        raise UnsupportedInput(f"--data {data}: no such file; give synthetic, real, a key point JSON or its folder")
    file = _annotations(path)
    folder = next((file.parent / name for name in ("videos", "images") if (file.parent / name).is_dir()), file.parent)
    return _labelled(file.name, f"clips, against the labels of {file.name}", folder, file, count, frames, size, show)


def training_clips(frames: int, size: tuple[int, int], show: Progress = no_progress) -> PoseSample:
    """The synthetic training clips that baselines are fitted on."""
    dataset = SyntheticPoseDataset("train", BASELINE_CLIPS, frames, size)
    return stack_samples(_Watched(dataset, "training clips for the baseline", show))


def _synthetic(count: int, frames: int, size: tuple[int, int], show: Progress) -> EvaluationClips:
    clips = stack_samples(_Watched(SyntheticPoseDataset("val", count, frames, size), "rendering", show))
    kinds = [mocap.MOTION_NAMES[int(motion)] for motion in clips["motion"]]
    what = f"synthetic clips of motions that training never shows (generator version {GENERATOR_VERSION})"
    return EvaluationClips("synthetic", what, clips, kinds, range(count))


def _labelled(
    name: str,
    what: str,
    folder: Path,
    file: Path,
    count: int | None,
    frames: int,
    size: tuple[int, int],
    show: Progress,
) -> EvaluationClips:
    from svf_edge.data.formats.coco import CocoDataset

    dataset = CocoDataset(folder, file, "val", frames, size, val_share=1.0)
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(count or len(dataset), len(dataset))).round().astype(int))
    clips = stack_samples(_Watched(Subset(dataset, chosen.tolist()), "reading", show))
    if not clips["visible"].any():
        raise BadFile(f"{file}: no joint is visible (v = 2) in any clip of {frames} frames; nothing can be measured")
    sources = [dataset.clips[index].source for index in chosen]
    groups = {source: number for number, source in enumerate(dict.fromkeys(sources))}
    kinds = [Path(source).stem for source in sources]
    return EvaluationClips(name, what, clips, kinds, [groups[source] for source in sources])


def _annotations(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(path.glob("*.json"))
    if len(found) != 1:
        held = ", ".join(file.name for file in found) or "none"
        raise BadFile(f"{path}: one JSON file with key points is needed in the folder ({held}); give the file itself")
    return found[0]


class _Watched(Dataset[PoseSample]):
    """A data set that shows how far it was read."""

    def __init__(self, clips: Dataset[PoseSample], what: str, show: Progress) -> None:
        self.clips, self.what, self.show = clips, what, show

    def __len__(self) -> int:
        return len(self.clips)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> PoseSample:
        self.show(self.what, index / len(self))
        return self.clips[index]
