"""Walks a data set from end to end and says what is there and everything that is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from svf_edge.data.formats.clips import SPLITS, FormatDataset
from svf_edge.data.sample import UNKNOWN_CLASS, UNKNOWN_PIXEL, Sample
from svf_edge.data.source import DataSource
from svf_edge.errors import BadFile, UnsupportedInput


@dataclass
class SplitReport:
    """What a split holds; counts are of clips that could be read, and of joints and pixels in their frames."""

    split: str
    clips: int = 0
    readable: int = 0
    joints: int = 0
    inside: int = 0
    """Joints with a 2-D label inside the frame."""
    visible: int = 0
    solid: int = 0
    """Joints with a 3-D label."""
    classes: set[int] = field(default_factory=set)
    """Classes of clips and of pixels that occur."""
    pixels: int = 0
    masked: int = 0
    """Pixels, and those of them with a class."""
    values: int = 0
    active: int = 0
    """Values of frames, and those of them that are not 0."""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def share(self, count: int) -> float:
        """`count` of all joints; 0 without any."""
        return count / self.joints if self.joints else 0.0

    @property
    def covered(self) -> float:
        """Share of pixels with a class."""
        return self.masked / self.pixels if self.pixels else 0.0

    @property
    def density(self) -> float:
        """Share of values in frames that are not 0: how sparse events are."""
        return self.active / self.values if self.values else 0.0


def check_split(source: DataSource, split: str, frames: int, size: tuple[int, int]) -> SplitReport:
    """Reads every frame of `split` that is part of a long enough sequence, in clips that join no event frames.

    Errors of files become `problems`, each said once.
    """
    report = SplitReport(split)
    plain = {"cover": True, "gaps": (1,), "mirror": False, "train_views": 1, "views": 1, "crops": 1}
    source = source.model_copy(update={name: plain[name] for name in plain if name in type(source).model_fields})
    try:
        clips = source.clips(split, frames, size, 0)
    except BadFile as error:
        report.problems.append(str(error))
        return report
    if isinstance(clips, FormatDataset):
        report.problems += clips.problems
        report.notes += clips.notes
    report.clips = len(clips)  # type: ignore[arg-type]
    for index in range(report.clips):
        try:
            _add(report, clips[index], source, frames, size)
        except BadFile as error:
            report.problems.append(str(error))
    report.problems = list(dict.fromkeys(report.problems))
    if report.readable and "joints" in source.labels and not report.inside:
        report.notes.append("no joint has a 2-D label: 2-D pose cannot be trained on this")
    if report.readable and not report.active:
        report.problems.append(f"split '{split}': every frame is empty; the files hold no picture")
    return report


def check(source: DataSource, frames: int, size: tuple[int, int]) -> list[SplitReport]:
    """`check_split` for every split."""
    return [check_split(source, split, frames, size) for split in SPLITS]


def _add(report: SplitReport, sample: Sample, source: DataSource, frames: int, size: tuple[int, int]) -> None:
    shape = (frames, source.channels, *size)
    if sample["frames"].shape != shape:
        raise UnsupportedInput(f"a clip has frames {list(sample['frames'].shape)}, {list(shape)} was asked for")
    joints = sample["joints"]
    limit = torch.tensor([size[1], size[0]])
    report.readable += 1
    report.joints += sample["visible"].numel()
    report.inside += int(((joints >= 0) & (joints < limit)).all(-1).sum())
    report.visible += int(sample["visible"].sum())
    report.solid += int(sample["joints3d"].isfinite().all(-1).sum())
    report.classes |= {int(sample["label"])} - {UNKNOWN_CLASS}
    report.classes |= set(sample["mask"].unique().tolist()) - {UNKNOWN_PIXEL}
    report.pixels += sample["mask"].numel()
    report.masked += int((sample["mask"] != UNKNOWN_PIXEL).sum())
    report.values += sample["frames"].numel()
    report.active += int((sample["frames"] != 0).sum())
