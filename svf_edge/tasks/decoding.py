"""From scores to what they stand for, without PyTorch: a device decodes with this alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from svf_edge.model.config import AnyHead, Pose3dHead, PoseHead, SegmentationHead

Floats = NDArray[np.float32]
Scores = NDArray[Any]


@dataclass(frozen=True)
class Pose2d:
    """`points` float32 `[..., joints, 2]` in pixels (x, y) and `confidence` float32 `[..., joints]` in 0..1."""

    points: Floats
    confidence: Floats


Read = Pose2d | Floats | NDArray[np.uint8]
"""A pose, 3-D joints `[T, J, 3]`, the shares of classes `[classes]` or the classes of pixels `[T, H, W]`."""


def read(output: Scores, head: AnyHead, size: tuple[int, int], exponent: int = 0) -> Read:
    """What a program's output `[T, K, h, w]`, in units of `2^-exponent`, stands for."""
    if isinstance(head, SegmentationHead):
        return label_map(output, head, size)
    scores = output[..., 0, 0]
    if isinstance(head, PoseHead):
        return decode(scores, head, size, exponent)
    return decode3d(scores, head, exponent) if isinstance(head, Pose3dHead) else class_shares(scores, exponent)


def decode(scores: Scores, head: PoseHead, size: tuple[int, int], exponent: int = 0, radius: int = 4) -> Pose2d:
    """Joints from scores `[..., J * 2 * bins]` (integers in units of `2^-exponent`, or floats with exponent 0).

    Of the windows of `radius` bins around a bin, the one that holds the most probability (softmax) is taken on every
    axis, and the mean in it: the mean over all bins would pull an ambiguous limb to the middle, the best bin alone may
    stand apart from where most of the probability lies. Confidence is the smaller of the two axes' mass in the window.
    """
    place, mass = _windows(scores, head, exponent, radius)
    step = np.array([size[1] / head.bins, size[0] / head.bins], dtype=np.float32)
    return Pose2d((place * step).astype(np.float32), mass.min(-1).astype(np.float32))


def decode3d(scores: Scores, head: Pose3dHead, exponent: int = 0, radius: int = 4) -> Floats:
    """Joints float32 `[..., J, 3]` in metres about the middle of the hips, from scores `[..., J * 3 * bins]`."""
    place, _ = _windows(scores, head, exponent, radius)
    return np.asarray((2 * place / head.bins - 1) * head.reach, dtype=np.float32)


def class_shares(scores: Scores, exponent: int = 0) -> Floats:
    """Softmax float32 `[..., classes]` of the mean over time of scores `[..., T, classes]`."""
    mean = np.asarray(scores, dtype=np.float64).mean(-2) * 2.0**-exponent
    weight = np.exp(mean - mean.max(-1, keepdims=True))
    return np.asarray(weight / weight.sum(-1, keepdims=True), dtype=np.float32)


def label_map(scores: Scores, head: SegmentationHead, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Classes uint8 `[..., H, W]` of a frame of `size` from score maps `[..., classes * cell * cell, h, w]`.

    The greatest score of a place wins, of equal ones the first; no rounding is involved. A pixel takes the place that
    its centre falls into.
    """
    *lead, _, height, width = scores.shape
    cells = scores.reshape(*lead, head.classes, head.cell, head.cell, height, width).argmax(len(lead))
    places = np.moveaxis(cells, (-4, -3), (-3, -1)).reshape(*lead, height * head.cell, width * head.cell)
    rows, columns = (_nearest(have, wanted) for have, wanted in zip(places.shape[-2:], size, strict=True))
    return np.asarray(places[..., rows[:, None], columns], dtype=np.uint8)


def _nearest(have: int, wanted: int) -> NDArray[np.int64]:
    """For each of `wanted` equal slices, the one of `have` that holds its middle."""
    return (2 * np.arange(wanted) + 1) * have // (2 * wanted)


def _windows(
    scores: Scores, head: PoseHead | Pose3dHead, exponent: int, radius: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Places `[..., J, axes]` in bins from the first bin's begin, and the probability in the window around each."""
    scaled = np.asarray(scores, dtype=np.float32) * np.float32(2.0**-exponent)
    scaled = scaled.reshape(*scaled.shape[:-1], head.joints, head.axes, head.bins)
    weight = np.exp(scaled - scaled.max(-1, keepdims=True))
    weight /= weight.sum(-1, keepdims=True)
    position = np.arange(head.bins)
    inside_window = (np.abs(position[:, None] - position) <= radius).astype(np.float32)
    centre = (weight @ inside_window).argmax(-1)
    local = weight * (np.abs(position - centre[..., None]) <= radius)
    mass = local.sum(-1)
    return (local * position).sum(-1) / mass + 0.5, mass
