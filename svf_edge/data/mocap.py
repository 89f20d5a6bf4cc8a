"""Motion-capture clips (DeepMimic / CMU, see assets/NOTICE.md) and forward kinematics of their humanoid.

World axes: x forward at rest, y up, z to the person's right; metres. A pose row has 43 columns: root
position 3, then root, chest, neck, right hip (quaternions w, x, y, z), right knee (angle about z), right ankle,
right shoulder (quaternions), right elbow (angle), and hip, knee, ankle, shoulder, elbow of the left side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Offset = tuple[float, float, float]

SPHERICAL: Final[tuple[str, ...]] = (
    "root",
    "chest",
    "neck",
    "right_hip",
    "right_ankle",
    "right_shoulder",
    "left_hip",
    "left_ankle",
    "left_shoulder",
)
SPHERICAL_COLUMNS: Final[tuple[int, ...]] = (3, 7, 11, 15, 20, 24, 29, 34, 38)
HINGES: Final[tuple[str, ...]] = ("right_knee", "right_elbow", "left_knee", "left_elbow")
HINGE_COLUMNS: Final[tuple[int, ...]] = (19, 28, 33, 42)
UPPER_BODY: Final[frozenset[str]] = frozenset(
    {"chest", "neck", "right_shoulder", "left_shoulder", "right_elbow", "left_elbow"}
)

# Bone offsets (metres) in the parent's frame, right side; the left side mirrors z.
CHEST: Final = (0.0, 0.236151, 0.0)
NECK: Final = (0.0, 0.223894, 0.0)
HEAD: Final = (0.0, 0.175, 0.0)
HIP: Final = (0.0, 0.0, 0.084887)
KNEE: Final = (0.0, -0.421546, 0.0)
ANKLE: Final = (0.0, -0.40987, 0.0)
TOE: Final = (0.15, -0.045, 0.0)
HEEL: Final = (-0.05, -0.045, 0.0)
SHOULDER: Final = (-0.02405, 0.2435, 0.18311)
ELBOW: Final = (0.0, -0.274788, 0.0)
WRIST: Final = (0.0, -0.258947, 0.0)
HAND: Final = (0.0, -0.08, 0.0)

MOTION_NAMES: Final[tuple[str, ...]] = (
    "backflip",
    "cartwheel",
    "crawl",
    "dance_a",
    "dance_b",
    "getup_facedown",
    "getup_faceup",
    "jump",
    "kick",
    "punch",
    "roll",
    "run",
    "spin",
    "spinkick",
    "walk",
    "walker_walk_forward",
    "walker_turn_left0",
    "walker_turn_left1",
    "walker_turn_right0",
    "walker_turn_right1",
)
"""The shipped motions, in the order of the asset; the classes of motion recognition."""

VALIDATION_MOTIONS: Final[frozenset[str]] = frozenset({"run", "kick", "dance_b"})
"""Motions that no training clip is made of."""

FLOOR_MOTIONS: Final[frozenset[str]] = frozenset(
    {"backflip", "cartwheel", "crawl", "getup_facedown", "getup_faceup", "roll"}
)
"""Motions spent mostly lying or upside down, which training draws seldom."""


@dataclass(frozen=True)
class MotionClip:
    """One captured motion: `poses` float32 [N, 43] at `rate` Hz; `loop`: its end leads into its start."""

    name: str
    poses: Array
    rate: float
    loop: bool

    @property
    def duration(self) -> float:
        """Seconds."""
        return (len(self.poses) - 1) / self.rate

    def sample(self, times: NDArray[np.float64]) -> Array:
        """Poses float32 [T, 43] at `times` (seconds), linear between frames.

        Past its end a looping motion starts over, moved on by the distance covered; others run backwards.
        """
        last = len(self.poses) - 1
        position = times * self.rate
        if self.loop:
            turn = np.floor(position / last)
            position = position - turn * last
        else:
            turn = np.zeros_like(position)
            position = last - np.abs(position % (2 * last) - last)
        low = np.minimum(position.astype(np.int64), last - 1)
        weight = (position - low).astype(np.float32)[:, None]
        pose = self.poses[low] * (1 - weight) + self.poses[low + 1] * weight
        step = self.poses[last, :3] - self.poses[0, :3]
        step[1] = 0
        pose[:, :3] += turn.astype(np.float32)[:, None] * step
        return np.asarray(pose, dtype=np.float32)


@lru_cache(maxsize=1)
def load_motions() -> tuple[MotionClip, ...]:
    """All shipped motions, in name order of the asset."""
    path = resources.files("svf_edge.data").joinpath("assets/mocap.npz")
    with path.open("rb") as handle, np.load(handle, allow_pickle=False) as asset:
        names, poses, starts = asset["names"], asset["poses"], asset["starts"]
        rates, loops = asset["rates"], asset["loops"]
    return tuple(
        MotionClip(str(names[i]), poses[starts[i] : starts[i + 1]], float(rates[i]), bool(loops[i]))
        for i in range(len(names))
    )


def split_motions(split: str) -> tuple[MotionClip, ...]:
    """Motions of "train" or "val" (unseen motions)."""
    wanted = split == "val"
    return tuple(m for m in load_motions() if (m.name in VALIDATION_MOTIONS) == wanted)


def quaternion_matrix(quaternion: Array) -> Array:
    """Rotation matrices [..., 3, 3] of quaternions [..., 4] (w, x, y, z), which need not be normalised."""
    w, x, y, z = np.moveaxis(quaternion, -1, 0)
    s = 2.0 / (w * w + x * x + y * y + z * z)
    rows = (
        (1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)),
        (s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)),
        (s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2).astype(np.float32)


def rotation_vector_matrix(vector: Array) -> Array:
    """Rotation matrices [..., 3, 3] of rotation vectors [..., 3] (radians)."""
    angle = np.linalg.norm(vector, axis=-1, keepdims=True)
    half = np.sinc(angle / (2 * np.pi)) / 2
    return quaternion_matrix(np.concatenate([np.cos(angle / 2), half * vector], axis=-1).astype(np.float32))


def hinge_matrix(angle: Array) -> Array:
    """Rotation matrices [..., 3, 3] about z by `angle` [...] (radians)."""
    c, s, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    flat = np.stack([c, -s, zero, s, c, zero, zero, zero, zero + 1], axis=-1)
    return np.asarray(flat.reshape(*angle.shape, 3, 3), dtype=np.float32)


def local_rotations(poses: Array) -> dict[str, Array]:
    """Rotation matrices [T, 3, 3] of every link in its parent's frame, from pose rows [T, 43]."""
    columns = np.add.outer(np.array(SPHERICAL_COLUMNS), np.arange(4))
    spherical = quaternion_matrix(poses[:, columns])
    hinges = hinge_matrix(poses[:, list(HINGE_COLUMNS)])
    rotations = {name: spherical[:, i] for i, name in enumerate(SPHERICAL)}
    rotations |= {name: hinges[:, i] for i, name in enumerate(HINGES)}
    return rotations


@dataclass(frozen=True)
class Proportions:
    """Length factors of a body relative to the captured one (1 = unchanged)."""

    torso: float = 1.0
    arm: float = 1.0
    leg: float = 1.0
    shoulders: float = 1.0
    hips: float = 1.0
    head: float = 1.0


@dataclass(frozen=True)
class Body:
    """World positions [T, 3] of named points, and the orientations [T, 3, 3] of pelvis, chest and head."""

    points: Mapping[str, Array]
    pelvis: Array
    chest: Array
    head: Array


def forward_kinematics(root: Array, rotations: Mapping[str, Array], proportions: Proportions | None = None) -> Body:
    """Places every joint: `root` [T, 3] is the pelvis position, `rotations` as of `local_rotations`."""
    p = proportions or Proportions()

    def offset(bone: Offset, length: float, side: float = 1.0, width: float = 1.0) -> Array:
        return np.array([bone[0] * length, bone[1] * length, bone[2] * side * width], dtype=np.float32)

    def turn(parent: Array, rotation: Array) -> Array:
        return np.asarray(parent @ rotation, dtype=np.float32)

    def move(start: Array, frame: Array, by: Array) -> Array:
        return np.asarray(start + frame @ by, dtype=np.float32)

    pelvis = rotations["root"]
    chest = turn(pelvis, rotations["chest"])
    head = turn(chest, rotations["neck"])
    points: dict[str, Array] = {"root": root, "chest": move(root, pelvis, offset(CHEST, p.torso))}
    points["neck"] = move(points["chest"], chest, offset(NECK, p.torso))
    points["head"] = move(points["neck"], head, offset(HEAD, p.head))
    for name, side in (("right", 1.0), ("left", -1.0)):
        thigh = turn(pelvis, rotations[f"{name}_hip"])
        shin = turn(thigh, rotations[f"{name}_knee"])
        foot = turn(shin, rotations[f"{name}_ankle"])
        upper_arm = turn(chest, rotations[f"{name}_shoulder"])
        forearm = turn(upper_arm, rotations[f"{name}_elbow"])
        hip = move(root, pelvis, offset(HIP, 1.0, side, p.hips))
        knee = move(hip, thigh, offset(KNEE, p.leg))
        ankle = move(knee, shin, offset(ANKLE, p.leg))
        shoulder = move(points["chest"], chest, offset(SHOULDER, p.torso, side, p.shoulders))
        elbow = move(shoulder, upper_arm, offset(ELBOW, p.arm))
        wrist = move(elbow, forearm, offset(WRIST, p.arm))
        points |= {f"{name}_hip": hip, f"{name}_knee": knee, f"{name}_ankle": ankle}
        points[f"{name}_toe"] = move(ankle, foot, offset(TOE, p.leg))
        points[f"{name}_heel"] = move(ankle, foot, offset(HEEL, p.leg))
        points |= {f"{name}_shoulder": shoulder, f"{name}_elbow": elbow, f"{name}_wrist": wrist}
        points[f"{name}_hand"] = move(wrist, forearm, offset(HAND, p.arm))
    return Body(points, pelvis, chest, head)
