"""Labels of other skeletons on our 13 joints, and what is wrong with labels."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from svf_edge.data.sample import UNKNOWN_CLASS, UNKNOWN_PIXEL, Sample
from svf_edge.data.skeleton import JOINT_NAMES, NUM_JOINTS
from svf_edge.errors import BadFile

Array = NDArray[np.float32]

UNLABELLED: Final = -1000.0
"""Both coordinates (pixels) of a joint without a 2-D label: outside every frame, so no loss counts it, and finite."""

SMPL_NAMES: Final[tuple[str, ...]] = (
    "pelvis",
    "left_hip",
    "right_hip",
    "spine1",
    "left_knee",
    "right_knee",
    "spine2",
    "left_ankle",
    "right_ankle",
    "spine3",
    "left_foot",
    "right_foot",
    "neck",
    "left_collar",
    "right_collar",
    "head",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hand",
    "right_hand",
)
"""The 24 joints of SMPL (Loper et al. 2015) in its order."""

DHP19_NAMES: Final[tuple[str, ...]] = (
    "head",
    "right_shoulder",
    "left_shoulder",
    "right_elbow",
    "left_elbow",
    "right_hip",
    "left_hip",
    "right_wrist",
    "left_wrist",
    "right_knee",
    "left_knee",
    "right_ankle",
    "left_ankle",
)
"""The 13 joints of DHP19 (Calabrese et al. 2019) in its order; its hands and feet stand for wrists and ankles."""

FROM_SMPL: Final[tuple[int, ...]] = tuple(SMPL_NAMES.index(name) for name in JOINT_NAMES)
"""Index of each of our joints among SMPL's: `ours = smpl[..., FROM_SMPL, :]`."""

FROM_DHP19: Final[tuple[int, ...]] = tuple(DHP19_NAMES.index(name) for name in JOINT_NAMES)

_TORSO: Final = (0.15, 1.2)
"""Metres between the middles of the shoulders and of the hips that a person, child or adult, can have."""


def to_smpl(joints: Array) -> Array:
    """24 SMPL joints `[..., 24, D]` from our 13 `[..., 13, D]`.

    Joints that we lack are placed between those we have: the spine on the line from the hips to the neck, the
    collars half way from neck to shoulder, hands on the forearm prolonged by a third, feet at the ankles.
    """
    have: dict[str, NDArray[np.floating]] = {name: joints[..., index, :] for index, name in enumerate(JOINT_NAMES)}
    have["pelvis"] = (have["left_hip"] + have["right_hip"]) / 2
    have["neck"] = (have["left_shoulder"] + have["right_shoulder"]) / 2
    for index in (1, 2, 3):
        have[f"spine{index}"] = have["pelvis"] + (have["neck"] - have["pelvis"]) * np.float32(index / 4)
    for side in ("left", "right"):
        have[f"{side}_collar"] = (have["neck"] + have[f"{side}_shoulder"]) / 2
        have[f"{side}_foot"] = have[f"{side}_ankle"]
        forearm = have[f"{side}_wrist"] - have[f"{side}_elbow"]
        have[f"{side}_hand"] = have[f"{side}_wrist"] + forearm / 3
    return np.stack([have[name] for name in SMPL_NAMES], axis=-2).astype(np.float32)


def by_name(names: Sequence[str], file: Path) -> list[int]:
    """Where each of our joints stands in `names`, as a key point file gives them; a nose stands for the head.

    Case, spaces and hyphens do not count, and `l_` or `r_` may stand for `left_` or `right_`. Raises BadFile naming
    the first joint that is missing or given twice.
    """
    plain = [_plain(name) for name in names]
    found = []
    for joint in JOINT_NAMES:
        wanted = "nose" if joint == "head" and "head" not in plain else joint
        if plain.count(wanted) > 1:
            raise BadFile(f"{file}: key point '{wanted}' is named twice; give every key point a name of its own")
        if wanted not in plain:
            label = "head' (or 'nose" if joint == "head" else joint
            close = difflib.get_close_matches(wanted, plain, n=1)
            hint = f"rename '{names[plain.index(close[0])]}' if it is the same" if close else "add it"
            raise BadFile(f"{file}: no key point is named '{label}'; {hint}. There are {', '.join(names)}")
        found.append(plain.index(wanted))
    return found


def _plain(name: str) -> str:
    plain = re.sub(r"[\s\-]+", "_", name.strip().lower())
    return re.sub(r"^l_", "left_", re.sub(r"^r_", "right_", plain))


def require_finite(values: NDArray[np.floating], names: Sequence[str], file: Path, key: str) -> None:
    """Raises BadFile naming the first joint of `values` `[..., joint, D]` that is NaN or infinite."""
    bad = ~np.isfinite(values).all(axis=-1)
    if bad.any():
        *_, joint = np.argwhere(bad)[0]
        value = values[bad][0]
        raise BadFile(
            f"{file}: '{key}' of joint '{names[joint]}' is {np.array2string(value)} ({int(bad.sum())} such labels); "
            f"leave the frame out or label it again"
        )


def require_metres(joints3d: NDArray[np.floating], file: Path, key: str) -> None:
    """Raises BadFile if the torsos of our joints `[..., 13, 3]` are not as long as a person's, in metres."""
    points = {name: joints3d[..., index, :] for index, name in enumerate(JOINT_NAMES)}
    shoulders = points["left_shoulder"] + points["right_shoulder"]
    hips = points["left_hip"] + points["right_hip"]
    torso = np.linalg.norm(shoulders - hips, axis=-1) / 2
    if np.isnan(torso).all():
        return
    length = float(np.nanmedian(torso))
    if not _TORSO[0] <= length <= _TORSO[1]:
        unit = "; that looks like millimetres" if 1000 * _TORSO[0] <= length <= 1000 * _TORSO[1] else ""
        raise BadFile(
            f"{file}: '{key}' makes a torso {length:.3g} m long{unit}; labels are joints in metres in the order that "
            f"docs/data.md gives"
        )


def make_sample(
    frames: NDArray[np.uint8],
    joints: Array | None = None,
    visible: NDArray[np.bool_] | None = None,
    joints3d: Array | None = None,
    *,
    label: int = UNKNOWN_CLASS,
    mask: NDArray[np.uint8] | None = None,
) -> Sample:
    """A sample from frames `[T, C, H, W]` and what a data set labels, the rest unknown.

    That may be joints `[T, 13, 2]` (px) with which of them it says are `visible` `[T, 13]`, 3-D joints, the class of
    the clip, and the classes of pixels `[T, H, W]`.

    Joints outside the frame are not visible, whatever the data set says.
    """
    limit = np.array([frames.shape[3], frames.shape[2]], dtype=np.float32)
    if joints is None or visible is None:
        joints = np.full((len(frames), NUM_JOINTS, 2), UNLABELLED, dtype=np.float32)
        visible = np.zeros(joints.shape[:2], dtype=bool)
    within = np.all((joints >= 0) & (joints < limit), axis=-1)
    if joints3d is None:
        joints3d = np.full((len(frames), NUM_JOINTS, 3), np.nan, dtype=np.float32)
    if mask is None:
        mask = np.full((len(frames), *frames.shape[2:]), UNKNOWN_PIXEL, dtype=np.uint8)
    return Sample(
        frames=torch.from_numpy(np.ascontiguousarray(frames)),
        joints=torch.from_numpy(joints.astype(np.float32)),
        visible=torch.from_numpy(visible & within),
        joints3d=torch.from_numpy(joints3d.astype(np.float32)),
        label=torch.tensor(label),
        mask=torch.from_numpy(mask),
    )
