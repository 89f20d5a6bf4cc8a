"""One labelled clip: the type that the generator and every reader of a data set give."""

from __future__ import annotations

from typing import Final, TypedDict

import torch
from torch import Tensor
from torch.utils.data import Dataset

UNKNOWN_MOTION: Final[int] = -1


class PoseSample(TypedDict):
    """One clip. Pixel coordinates are continuous: pixel i covers [i, i + 1); x right, y down."""

    frames: Tensor  # uint8 [T, 3, H, W], RGB
    joints: Tensor  # float32 [T, 13, 2], pixels, order of JOINT_NAMES
    visible: Tensor  # bool [T, 13]: inside the frame and not behind a foreground object
    joints3d: Tensor  # float32 [T, 13, 3], camera space in metres (x right, y down, z away); NaN where unknown
    motion: Tensor  # int64 []: index into mocap.MOTION_NAMES, UNKNOWN_MOTION where there is none


def stack_samples(clips: Dataset[PoseSample]) -> PoseSample:
    """All of a (small) data set as one batch: every field with N in front."""
    samples = [clips[index] for index in range(len(clips))]  # type: ignore[arg-type]
    return PoseSample(
        frames=torch.stack([sample["frames"] for sample in samples]),
        joints=torch.stack([sample["joints"] for sample in samples]),
        visible=torch.stack([sample["visible"] for sample in samples]),
        joints3d=torch.stack([sample["joints3d"] for sample in samples]),
        motion=torch.stack([sample["motion"] for sample in samples]),
    )


def stretch(clips: PoseSample, begin: int, end: int) -> PoseSample:
    """Frames `begin` to `end` (exclusive) of a clip, or of every clip of a stack."""
    return PoseSample(
        frames=clips["frames"][..., begin:end, :, :, :],
        joints=clips["joints"][..., begin:end, :, :],
        visible=clips["visible"][..., begin:end, :],
        joints3d=clips["joints3d"][..., begin:end, :, :],
        motion=clips["motion"],
    )
