"""Coordinates by per-axis classification (SimCC, Li et al. 2022): its loss. `svf_edge.tasks.decoding` reads the scores.

Scores of a frame are `joints * axes * bins` numbers: for every joint the bins along x, then those along y, then along z
where there are three axes. Bin i stands for the i-th of `bins` equal slices of an axis.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def bin_targets(place: Tensor, bins: int, sigma: float) -> Tensor:
    """Normalised Gaussians of `sigma` bins around places `[..., J, axes]` (in bins): `[..., J, axes, bins]`."""
    position = torch.arange(bins, dtype=place.dtype, device=place.device) + 0.5
    return torch.softmax(-((position - place[..., None]) ** 2) / (2 * sigma**2), -1)


def bin_loss(scores: Tensor, place: Tensor, counted: Tensor, bins: int, sigma: float) -> Tensor:
    """Cross-entropy of scores `[..., J * axes * bins]` against Gaussians: the mean over `counted` joints `[..., J]`."""
    *_, joints, axes = place.shape
    scores = scores.unflatten(-1, (joints, axes, bins))
    loss = -(bin_targets(place, bins, sigma) * F.log_softmax(scores, -1)).sum(-1).mean(-1)
    weight = counted.to(loss.dtype)
    return (loss * weight).sum() / weight.sum().clamp(min=1)


def bin_frequency(place: Tensor, counted: Tensor, bins: int) -> Tensor:
    """How often each bin is hit, `[J, axes, bins]`, from places `[..., J, axes]` (in bins)."""
    target = bin_targets(place, bins, bins / 32)
    weighted = target * counted[..., None, None].to(target.dtype)
    return weighted.flatten(0, -4).sum(0)
