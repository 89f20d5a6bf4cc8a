"""Accuracy of 2-D joints: PCK, MPJPE and PA-MPJPE, over visible joints only.

Shapes: predictions and targets [..., J, 2] in pixels, `visible` bool [..., J]. Every function returns a float, and
NaN where no joint counts.
"""

from __future__ import annotations

import torch
from torch import Tensor


def joint_errors(predicted: Tensor, target: Tensor) -> Tensor:
    """Euclidean distances [..., J] in pixels."""
    return (predicted.float() - target.float()).square().sum(dim=-1).sqrt()


def person_size(target: Tensor, visible: Tensor) -> Tensor:
    """The longer side [...] of the box around the visible target joints, in pixels; 0 with fewer than two."""
    seen = visible.unsqueeze(-1)
    far = torch.finfo(torch.float32).max
    low = torch.where(seen, target.float(), torch.tensor(far)).amin(dim=-2)
    high = torch.where(seen, target.float(), torch.tensor(-far)).amax(dim=-2)
    side = (high - low).amax(dim=-1)
    return torch.where(visible.sum(dim=-1) >= 2, side, torch.zeros_like(side))


def mpjpe(predicted: Tensor, target: Tensor, visible: Tensor) -> float:
    """Mean per-joint position error in pixels over visible joints."""
    return float(joint_errors(predicted, target)[visible].mean())


def pck(predicted: Tensor, target: Tensor, visible: Tensor, threshold: float) -> float:
    """Share of visible joints within `threshold` times the person's size (`person_size`), the frame's own.

    This is PCK as of Yang and Ramanan (2013): relative to the person's bounding box, not to head or torso. Frames
    with fewer than two visible joints have no size and do not count.
    """
    size = person_size(target, visible).unsqueeze(-1)
    counted = visible & (size > 0)
    correct = joint_errors(predicted, target) <= threshold * size
    return float(correct[counted].float().mean())


def procrustes_align(predicted: Tensor, target: Tensor, visible: Tensor) -> Tensor:
    """`predicted` [..., J, 2] after the similarity (rotation, scale, shift; no reflection) nearest to `target`.

    The least-squares solution over visible joints (Umeyama 1991), one similarity per frame.
    """
    weight = visible.unsqueeze(-1).double()
    count = weight.sum(dim=-2, keepdim=True).clamp(min=1)
    p, q = predicted.double(), target.double()
    p_mean, q_mean = (p * weight).sum(-2, keepdim=True) / count, (q * weight).sum(-2, keepdim=True) / count
    p, q = p - p_mean, q - q_mean
    # In the plane a rotation with scale is multiplication by one complex number a: minimise |a p - q|^2.
    squares = (p * p * weight).sum(dim=(-2, -1))
    real = (p * q * weight).sum(dim=(-2, -1))
    imaginary = ((p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]) * weight[..., 0]).sum(dim=-1)
    usable = squares > 0
    divisor = torch.where(usable, squares, torch.ones_like(squares))
    cosine = torch.where(usable, real / divisor, torch.ones_like(real))[..., None]
    sine = torch.where(usable, imaginary / divisor, torch.zeros_like(real))[..., None]
    turned = torch.stack([cosine * p[..., 0] - sine * p[..., 1], sine * p[..., 0] + cosine * p[..., 1]], dim=-1)
    return (turned + q_mean).float()


def pa_mpjpe(predicted: Tensor, target: Tensor, visible: Tensor) -> float:
    """MPJPE in pixels after `procrustes_align`."""
    return mpjpe(procrustes_align(predicted, target, visible), target, visible)


def pose_metrics(predicted: Tensor, target: Tensor, visible: Tensor) -> dict[str, float]:
    """All metrics by name: `pck@0.1`, `pck@0.2`, `mpjpe_px`, `pa_mpjpe_px`."""
    visible = visible.bool()
    return {
        "pck@0.1": pck(predicted, target, visible, 0.1),
        "pck@0.2": pck(predicted, target, visible, 0.2),
        "mpjpe_px": mpjpe(predicted, target, visible),
        "pa_mpjpe_px": pa_mpjpe(predicted, target, visible),
    }


def mean_pose(target: Tensor, visible: Tensor) -> Tensor:
    """The constant pose [J, 2] that guesses each joint at the mean of its visible positions: the baseline to beat."""
    weight = visible.reshape(-1, visible.shape[-1], 1).float()
    points = target.reshape(-1, *target.shape[-2:]).float()
    return (points * weight).sum(dim=0) / weight.sum(dim=0).clamp(min=1)
