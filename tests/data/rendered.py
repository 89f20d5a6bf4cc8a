"""A few rendered clips, kept in memory, that the tests of formats and events share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch.utils.data import Dataset

from svf_edge.data.sample import Sample
from svf_edge.data.synthetic import SyntheticPoseDataset


class Clips(Dataset[Sample]):
    """Samples in memory."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = list(samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


@lru_cache(maxsize=1)
def rendered() -> Clips:
    """Two training clips of 9 frames of 64x64."""
    data = SyntheticPoseDataset("train", 2, frames=9, size=(64, 64), seed=3)
    return Clips([data[index] for index in range(len(data))])


def assert_well_formed(sample: Sample, frames: int, channels: int, size: tuple[int, int]) -> None:
    """Shapes, types and agreement of `visible` with the frame."""
    assert sample["frames"].shape == (frames, channels, *size) and sample["frames"].dtype == torch.uint8
    assert sample["joints"].shape == (frames, 13, 2) and sample["joints"].dtype == torch.float32
    assert sample["visible"].shape == (frames, 13) and sample["visible"].dtype == torch.bool
    assert sample["joints3d"].shape == (frames, 13, 3) and sample["joints3d"].dtype == torch.float32
    assert sample["label"].shape == () and sample["label"].dtype == torch.int64
    assert sample["mask"].shape == (frames, *size) and sample["mask"].dtype == torch.uint8
    assert sample["joints"].isfinite().all()
    seen = sample["joints"][sample["visible"]]
    assert (seen >= 0).all() and (seen < torch.tensor([size[1], size[0]])).all()
