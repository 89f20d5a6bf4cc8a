"""From scores (`svf_edge.tasks.pose`) to joints, without PyTorch: a device decodes with this alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from svf_edge.model.config import PoseHead


@dataclass(frozen=True)
class Pose2d:
    """`points` float32 `[..., joints, 2]` in pixels (x, y) and `confidence` float32 `[..., joints]` in 0..1."""

    points: NDArray[np.float32]
    confidence: NDArray[np.float32]


def decode(scores: NDArray[Any], head: PoseHead, size: tuple[int, int], exponent: int = 0, radius: int = 4) -> Pose2d:
    """Joints from scores `[..., J * 2 * bins]` (integers in units of `2^-exponent`, or floats with exponent 0).

    Of the windows of `radius` bins around a bin, the one that holds the most probability (softmax) is taken on every
    axis, and the mean in it: the mean over all bins would pull an ambiguous limb to the middle, the best bin alone may
    stand apart from where most of the probability lies. Confidence is the smaller of the two axes' mass in the window.
    """
    scaled = np.asarray(scores, dtype=np.float32) * np.float32(2.0**-exponent)
    scaled = scaled.reshape(*scaled.shape[:-1], head.joints, 2, head.bins)
    weight = np.exp(scaled - scaled.max(-1, keepdims=True))
    weight /= weight.sum(-1, keepdims=True)
    position = np.arange(head.bins)
    inside_window = (np.abs(position[:, None] - position) <= radius).astype(np.float32)
    centre = (weight @ inside_window).argmax(-1)
    local = weight * (np.abs(position - centre[..., None]) <= radius)
    mass = local.sum(-1)
    step = np.array([size[1] / head.bins, size[0] / head.bins], dtype=np.float32)
    points = ((local * position).sum(-1) / mass + 0.5) * step
    return Pose2d(points.astype(np.float32), mass.min(-1).astype(np.float32))
