"""The 13 joints of the pose task: names, edges and mirror pairs (the common core of COCO, DHP19 and SMPL)."""

from __future__ import annotations

from typing import Final

JOINT_NAMES: Final[tuple[str, ...]] = (
    "head",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
NUM_JOINTS: Final[int] = len(JOINT_NAMES)

SKELETON: Final[tuple[tuple[int, int], ...]] = (
    (0, 1),
    (0, 2),
    (1, 2),
    (1, 3),
    (3, 5),
    (2, 4),
    (4, 6),
    (1, 7),
    (2, 8),
    (7, 8),
    (7, 9),
    (9, 11),
    (8, 10),
    (10, 12),
)
"""Edges between joint indices, for drawing."""

FLIP_PAIRS: Final[tuple[tuple[int, int], ...]] = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12))
"""(left, right) joint indices that change places when an image is mirrored."""

FLIP_ORDER: Final[tuple[int, ...]] = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11)
"""Index order that applies FLIP_PAIRS: `joints[..., FLIP_ORDER, :]`."""
