"""Accuracy of joints: PCK, MPJPE, PA-MPJPE, PEL-MPJPE and jitter, over visible joints only.

Shapes: predictions and targets `[..., J, D]`, `visible` bool `[..., J]`. D is 2 (pixels) or 3 (metres); PCK is for
2-D joints. A mean is a float, and NaN where no joint counts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from svf_edge.data.skeleton import JOINT_NAMES

HIPS = (JOINT_NAMES.index("left_hip"), JOINT_NAMES.index("right_hip"))

Values = tuple[Tensor, Tensor]
"""A quantity of every joint `[..., J]`, and which of them count (bool)."""


def joint_errors(predicted: Tensor, target: Tensor) -> Tensor:
    """Euclidean distances [..., J]."""
    return (predicted.float() - target.float()).square().sum(dim=-1).sqrt()


def person_box(target: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Low and high corners [..., D] of the box around the visible target joints; meaningless without any."""
    seen = visible.unsqueeze(-1)
    far = torch.finfo(torch.float32).max
    low = torch.where(seen, target.float(), torch.tensor(far)).amin(dim=-2)
    high = torch.where(seen, target.float(), torch.tensor(-far)).amax(dim=-2)
    return low, high


def person_size(target: Tensor, visible: Tensor) -> Tensor:
    """The longer side [...] of the box around the visible target joints, in pixels; 0 with fewer than two."""
    low, high = person_box(target, visible)
    side = (high - low).amax(dim=-1)
    return torch.where(visible.sum(dim=-1) >= 2, side, torch.zeros_like(side))


def correct(predicted: Tensor, target: Tensor, visible: Tensor, threshold: float) -> Values:
    """Which joints lie within `threshold` times the person's size (`person_size`), the frame's own, as 0 or 1.

    PCK, their mean, is as of Yang and Ramanan (2013): relative to the person's bounding box, not to head or torso.
    Frames with fewer than two visible joints have no size and do not count.
    """
    size = person_size(target, visible).unsqueeze(-1)
    return (joint_errors(predicted, target) <= threshold * size).float(), visible & (size > 0)


def pelvis_errors(predicted: Tensor, target: Tensor, visible: Tensor) -> Values:
    """Errors after the middle of the two hips is subtracted on both sides (PEL-MPJPE is their mean).

    Frames in which a hip is not visible do not count. J is 13, in the order of JOINT_NAMES.
    """
    hips = list(HIPS)
    moved = [points.float() - points[..., hips, :].float().mean(dim=-2, keepdim=True) for points in (predicted, target)]
    return joint_errors(*moved), visible & visible[..., hips].all(dim=-1, keepdim=True)


def acceleration_errors(predicted: Tensor, target: Tensor, visible: Tensor) -> Values:
    """Distances between second differences over time of clips [..., T, J, D]: values [..., T - 2, J].

    What a prediction shakes beyond the true motion, per frame^2 (the acceleration error of Kanazawa et al. 2019). A
    joint counts where it is visible in three frames running.
    """

    def second_difference(points: Tensor) -> Tensor:
        points = points.float()
        return points[..., 2:, :, :] - 2 * points[..., 1:-1, :, :] + points[..., :-2, :, :]

    steady = visible[..., 2:, :] & visible[..., 1:-1, :] & visible[..., :-2, :]
    return joint_errors(second_difference(predicted), second_difference(target)), steady


def procrustes_align(predicted: Tensor, target: Tensor, visible: Tensor) -> Tensor:
    """`predicted` [..., J, D] after the similarity (rotation, scale, shift; no reflection) nearest to `target`.

    The least-squares solution over visible joints (Umeyama 1991), one similarity per frame.
    """
    weight = visible.unsqueeze(-1).double()
    count = weight.sum(dim=-2, keepdim=True).clamp(min=1)
    p = torch.where(visible.unsqueeze(-1), predicted, torch.zeros_like(predicted)).double()
    q = torch.where(visible.unsqueeze(-1), target, torch.zeros_like(target)).double()
    p_mean, q_mean = p.sum(-2, keepdim=True) / count, q.sum(-2, keepdim=True) / count
    p, q = (p - p_mean) * weight, (q - q_mean) * weight
    u, stretch, vt = torch.linalg.svd(p.mT @ q)
    proper = torch.ones_like(stretch)
    proper[..., -1] = torch.where(torch.linalg.det(u @ vt) < 0, -1.0, 1.0)
    rotation = (u * proper.unsqueeze(-2)) @ vt
    squares = p.square().sum(dim=(-2, -1))
    usable = squares > 0
    scale = torch.where(usable, (stretch * proper).sum(-1) / torch.where(usable, squares, 1.0), 1.0)
    turned = (predicted.double() - p_mean) @ rotation * scale[..., None, None]
    return (turned + q_mean).float()


def mean_of(values: Values) -> float:
    """The mean over what counts."""
    value, counted = values
    return float(value[counted].mean())


def frame_values(predicted: Tensor, target: Tensor, visible: Tensor) -> dict[str, Values]:
    """PCK, MPJPE and PA-MPJPE, the metrics of single frames, by name."""
    aligned = procrustes_align(predicted, target, visible)
    return {
        "pck@0.1": correct(predicted, target, visible, 0.1),
        "pck@0.2": correct(predicted, target, visible, 0.2),
        "mpjpe_px": (joint_errors(predicted, target), visible),
        "pa_mpjpe_px": (joint_errors(aligned, target), visible),
    }


def clip_values(predicted: Tensor, target: Tensor, visible: Tensor) -> dict[str, Values]:
    """`frame_values`, `pel_mpjpe_px` and, of clips of three frames or more, `jitter_px`; of clips [..., T, 13, 2]."""
    values = frame_values(predicted, target, visible)
    values["pel_mpjpe_px"] = pelvis_errors(predicted, target, visible)
    if target.shape[-3] >= 3:
        values["jitter_px"] = acceleration_errors(predicted, target, visible)
    return values


def mean_pose(target: Tensor, visible: Tensor) -> Tensor:
    """The constant pose [J, 2] that guesses each joint at the mean of its visible positions: the baseline to beat."""
    weight = visible.reshape(-1, visible.shape[-1], 1).float()
    points = target.reshape(-1, *target.shape[-2:]).float()
    # A joint that is not visible may have any coordinates, also none.
    return torch.where(weight > 0, points, 0).sum(dim=0) / weight.sum(dim=0).clamp(min=1)


def to_box(target: Tensor, visible: Tensor) -> Tensor:
    """Joints [..., J, 2] relative to the middle of their frame's box, in units of its longer side."""
    low, high = person_box(target, visible)
    size = person_size(target, visible).clamp(min=1e-6)[..., None, None]
    return (target.float() - ((low + high) / 2).unsqueeze(-2)) / size


def from_box(pose: Tensor, target: Tensor, visible: Tensor) -> Tensor:
    """`pose` [J, 2], relative as of `to_box`, put into the box of every frame of `target`: [..., J, 2]."""
    low, high = person_box(target, visible)
    size = person_size(target, visible)[..., None, None]
    return ((low + high) / 2).unsqueeze(-2) + size * pose
