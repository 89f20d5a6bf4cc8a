"""One labelled clip: the type that the generator and every reader of a data set give."""

from __future__ import annotations

from typing import Any, Final, TypedDict, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

UNKNOWN_CLASS: Final[int] = -1
UNKNOWN_PIXEL: Final[int] = 255


class Sample(TypedDict):
    """One clip. Pixel coordinates are continuous: pixel i covers [i, i + 1); x right, y down.

    What a data set does not label is unknown: joints outside the frame and not visible, 3-D joints NaN, the class
    `UNKNOWN_CLASS`, pixels `UNKNOWN_PIXEL`.
    """

    frames: Tensor  # uint8 [T, 3, H, W], RGB
    joints: Tensor  # float32 [T, 13, 2], pixels, order of JOINT_NAMES
    visible: Tensor  # bool [T, 13]: inside the frame and not behind a foreground object
    joints3d: Tensor  # float32 [T, 13, 3], camera space in metres (x right, y down, z away); NaN where unknown
    label: Tensor  # int64 []: class of the clip (rendered ones: index into mocap.MOTION_NAMES)
    mask: Tensor  # uint8 [T, H, W]: class of every pixel (rendered ones: index into person.PART_CLASSES)


_OVER_TIME: Final = ("frames", "joints", "visible", "joints3d", "mask")


def stack_samples(clips: Dataset[Sample]) -> Sample:
    """All of a (small) data set as one batch: every field with N in front."""
    samples: list[Any] = [clips[index] for index in range(len(clips))]  # type: ignore[arg-type]
    return cast(Sample, {name: torch.stack([sample[name] for sample in samples]) for name in Sample.__annotations__})


def chosen(clips: Sample, places: Tensor | int) -> Sample:
    """Some clips of a stack, or one, with no N in front."""
    fields = cast(dict[str, Tensor], clips)
    return cast(Sample, {name: value[places] for name, value in fields.items()})


def stretch(clips: Sample, begin: int, end: int) -> Sample:
    """Frames `begin` to `end` (exclusive) of a clip, or of every clip of a stack."""
    stacked = clips["label"].ndim
    cut = (slice(None),) * stacked + (slice(begin, end),)
    fields = cast(dict[str, Tensor], clips)
    return cast(Sample, {name: value[cut] if name in _OVER_TIME else value for name, value in fields.items()})
