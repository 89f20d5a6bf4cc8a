"""2-D pose by per-axis classification (SimCC, Li et al. 2022): its loss. `svf_edge.tasks.decoding` reads the scores.

Scores of a frame are `joints * 2 * bins` numbers: for every joint the bins along x, then the bins along y. Bin i stands
for the i-th of `bins` equal slices of the frame.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from svf_edge.model.config import PoseHead


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
