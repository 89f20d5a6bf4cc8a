"""2-D pose by per-axis classification (SimCC, Li et al. 2022): loss and decoding.

Scores of a frame are `joints * 2 * bins` numbers: for every joint the bins along x, then the bins along y. Bin i stands
for the i-th of `bins` equal slices of the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from svf_edge.model.config import PoseHead


@dataclass(frozen=True)
class Pose2d:
    """`points` float32 `[..., joints, 2]` in pixels (x, y) and `confidence` float32 `[..., joints]` in 0..1."""

    points: NDArray[np.float32]
    confidence: NDArray[np.float32]


def inside(joints: Tensor, size: tuple[int, int]) -> Tensor:
    """Which joints `[..., 2]` (pixels) lie in a frame of `size` (height, width); bool `[...]`."""
    limit = joints.new_tensor([size[1], size[0]])
    return ((joints >= 0) & (joints < limit)).all(-1)


def simcc_targets(joints: Tensor, size: tuple[int, int], bins: int, sigma: float) -> Tensor:
    """Normalised Gaussians of `sigma` bins around joints `[..., J, 2]` (pixels): `[..., J, 2, bins]`."""
    centre = joints * bins / joints.new_tensor([size[1], size[0]])
    position = torch.arange(bins, dtype=joints.dtype, device=joints.device) + 0.5
    return torch.softmax(-((position - centre[..., None]) ** 2) / (2 * sigma**2), -1)


def simcc_loss(
    scores: Tensor, joints: Tensor, counted: Tensor, head: PoseHead, size: tuple[int, int], sigma: float
) -> Tensor:
    """Cross-entropy of `scores` `[..., J * 2 * bins]` against Gaussians: the mean over `counted` joints `[..., J]`."""
    scores = scores.unflatten(-1, (head.joints, 2, head.bins))
    target = simcc_targets(joints, size, head.bins, sigma)
    loss = -(target * F.log_softmax(scores, -1)).sum(-1).mean(-1)
    weight = counted.to(loss.dtype)
    return (loss * weight).sum() / weight.sum().clamp(min=1)


def bin_frequency(joints: Tensor, counted: Tensor, head: PoseHead, size: tuple[int, int]) -> Tensor:
    """How often each bin is hit, `[J, 2, bins]`, from joints `[..., J, 2]`: what a head knows before it looks."""
    target = simcc_targets(joints, size, head.bins, head.bins / 32)
    weighted = target * counted[..., None, None].to(target.dtype)
    return weighted.flatten(0, -4).sum(0)


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
