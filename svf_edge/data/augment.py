"""Cheap changes of a finished clip: mirror, time, place, scale, turn, light and colour."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from svf_edge.data.sample import UNKNOWN_PIXEL, Sample
from svf_edge.data.skeleton import FLIP_ORDER

_ORDER = list(FLIP_ORDER)


def augment(clip: Sample, rng: np.random.Generator) -> Sample:
    """A random variation of `clip`; the same generator state gives the same one. The clip is left as it was."""
    if rng.random() < 0.5:
        clip = mirrored(clip)
    if rng.random() < 0.3:
        clip = reversed_in_time(clip)
    if rng.random() < 0.7:
        angle = float(rng.normal(0, np.radians(10)))
        scale = float(np.exp(rng.normal(0, 0.12)))
        height, width = clip["frames"].shape[-2:]
        shift = rng.normal(0, 0.04, 2) * (width, height)
        clip = moved(clip, angle, scale, (float(shift[0]), float(shift[1])))
    gain = np.exp(rng.uniform(np.log(0.45), np.log(1.35))) * (1 + rng.uniform(-0.1, 0.1, 3))  # dusk to glare
    return recoloured(clip, gain.astype(np.float32), float(rng.uniform(0.55, 1.3)), float(rng.uniform(0.4, 1.3)))


def mirrored(clip: Sample) -> Sample:
    """Left and right exchanged, in the picture and among the joints."""
    width = clip["frames"].shape[-1]
    joints, joints3d = clip["joints"][:, _ORDER].clone(), clip["joints3d"][:, _ORDER].clone()
    joints[..., 0] = width - joints[..., 0]
    joints3d[..., 0] *= -1
    return {
        **clip,
        "frames": clip["frames"].flip(-1),
        "joints": joints,
        "visible": clip["visible"][:, _ORDER],
        "joints3d": joints3d,
        "mask": clip["mask"].flip(-1),
    }


def reversed_in_time(clip: Sample) -> Sample:
    """Played backwards. The class stays."""
    return {
        **clip,
        "frames": clip["frames"].flip(0),
        "joints": clip["joints"].flip(0),
        "visible": clip["visible"].flip(0),
        "joints3d": clip["joints3d"].flip(0),
        "mask": clip["mask"].flip(0),
    }


def moved(clip: Sample, angle: float, scale: float, shift: tuple[float, float]) -> Sample:
    """Turned clockwise by `angle` (radians) and scaled about the centre, then shifted (pixels).

    What comes in from outside repeats the border. 3-D joints turn about the optical axis.
    """
    count, _, height, width = clip["frames"].shape
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float32)
    back = turn.T / scale  # from a place in the new picture to its place in the old
    half = torch.tensor([width / 2, height / 2], dtype=torch.float32)
    offset = torch.tensor(shift, dtype=torch.float32)
    theta = torch.cat([back * half / half[:, None], (-(back @ offset) / half)[:, None]], dim=1)
    grid = affine_grid(theta[None], [1, 1, height, width], align_corners=False).expand(count, -1, -1, -1)
    frames = grid_sample(clip["frames"].float(), grid, "bilinear", "border", align_corners=False)
    joints = (clip["joints"] - half) @ (scale * turn.T) + half + offset
    joints3d = clip["joints3d"].clone()
    joints3d[..., :2] = joints3d[..., :2] @ turn.T
    shown = ((joints >= 0) & (joints < 2 * half)).all(dim=-1)
    # Beyond the border a picture repeats, a label is unknown: 0 is what grid_sample puts there.
    known = clip["mask"].float()[:, None] - UNKNOWN_PIXEL
    mask = grid_sample(known, grid, "nearest", "zeros", align_corners=False)[:, 0] + UNKNOWN_PIXEL
    return {
        **clip,
        "frames": _to_bytes(frames),
        "joints": joints,
        "visible": clip["visible"] & shown,
        "joints3d": joints3d,
        "mask": _to_bytes(mask),
    }


def recoloured(clip: Sample, gain: np.ndarray, contrast: float, saturation: float) -> Sample:
    """Every colour channel multiplied by `gain` [3]; contrast about the mean, saturation about grey (1: as is)."""
    frames = clip["frames"].float()
    grey = (1 - saturation) / 3 * torch.ones(3, 3) + saturation * torch.eye(3)
    factor = torch.from_numpy(gain)[:, None]
    offset = factor * ((1 - contrast) * frames.mean())
    pixels = torch.baddbmm(offset, (factor * contrast * grey).expand(len(frames), 3, 3), frames.flatten(2))
    return {**clip, "frames": _to_bytes(pixels.view_as(frames))}


def _to_bytes(frames: Tensor) -> Tensor:
    return frames.round_().clamp_(0, 255).to(torch.uint8)
