"""Stacked samples made by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from svf_edge.data.sample import UNKNOWN_CLASS, UNKNOWN_PIXEL, Sample


def blank(count: int, steps: int, size: tuple[int, int]) -> Sample:
    """Clips without any label."""
    return {
        "frames": torch.zeros(count, steps, 3, *size, dtype=torch.uint8),
        "joints": torch.full((count, steps, 13, 2), -1000.0),
        "visible": torch.zeros(count, steps, 13, dtype=torch.bool),
        "joints3d": torch.full((count, steps, 13, 3), torch.nan),
        "label": torch.full((count,), UNKNOWN_CLASS),
        "mask": torch.full((count, steps, *size), UNKNOWN_PIXEL, dtype=torch.uint8),
    }


def labelled(label: Tensor) -> Sample:
    """Clips of these classes `[N]`."""
    return {**blank(len(label), 2, (8, 8)), "label": label}


def masked(mask: Tensor) -> Sample:
    """Clips with these masks uint8 `[N, T, H, W]`."""
    count, steps, *size = mask.shape
    return {**blank(count, steps, (size[0], size[1])), "mask": mask}
