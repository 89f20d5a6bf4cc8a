"""Where the person is in the picture: a box that follows the pose, and the search for a person who is not found.

The network takes one person in a crop around them and has no detector. The rule is simple. While a person is tracked,
the box is drawn around the confident joints of the last frames with a margin, and moves there smoothly; small
differences set nothing in motion, so a person at rest is seen through a box at rest. When the mean score has been low
for some frames, the person is lost: a few fixed boxes are tried in turn, the largest centred square first, until one of
them gives a high mean score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from svf_edge.errors import MissingPackage

Points = NDArray[np.float32]

OUTSIDE = 128
"""What a crop shows beyond the picture: the pixel value that stands for zero in the network."""


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the picture; it may reach beyond it."""

    left: float
    top: float
    width: float
    height: float

    @property
    def centre(self) -> tuple[float, float]:
        """x and y of its middle."""
        return self.left + self.width / 2, self.top + self.height / 2

    @property
    def side(self) -> float:
        """Its longer side."""
        return max(self.width, self.height)

    def to_picture(self, points: Points, size: tuple[int, int]) -> Points:
        """Points (x, y) in pixels of a crop of `size` (height, width), in pixels of the picture."""
        scale = np.array([self.width / size[1], self.height / size[0]], np.float32)
        return points * scale + np.array([self.left, self.top], np.float32)


def cut(frame: NDArray[np.uint8], box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The part of an RGB frame uint8 `[H, W, 3]` in `box`, resized with an anti-aliasing filter: uint8 `[3, *size]`.

    Raises `MissingPackage` without Pillow.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise MissingPackage("pillow", "track") from error
    height, width = frame.shape[:2]
    # Whole pixels that hold the box; what lies beyond the picture is filled.
    left, top = int(np.floor(box.left)), int(np.floor(box.top))
    right, bottom = int(np.ceil(box.left + box.width)), int(np.ceil(box.top + box.height))
    inside = frame[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    if inside.shape[:2] != (bottom - top, right - left):
        region = np.full((bottom - top, right - left, 3), OUTSIDE, np.uint8)
        y, x = max(-top, 0), max(-left, 0)
        region[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    else:
        region = np.ascontiguousarray(inside)
    within = (box.left - left, box.top - top, box.left - left + box.width, box.top - top + box.height)
    resized = Image.fromarray(region).resize((size[1], size[0]), Image.Resampling.BILINEAR, box=within)
    return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))


@dataclass(frozen=True)
class FollowRule:
    """Numbers of the rule. Lengths are parts of the box's longer side, scores are those of the decoder (0..1)."""

    margin: float = 1.4
    """Longer side of the box over the longest extent of the confident joints."""
    joint_score: float = 0.35
    """From this score on, a joint counts for the box."""
    joints: int = 5
    """With fewer such joints the box stays."""
    found: float = 0.5
    """From this mean score on, a person counts as found."""
    lost: float = 0.3
    """Below this mean score, a frame speaks for a lost person."""
    patience: int = 10
    """Frames in a row below `lost` until the search begins; frames that each box of the search is tried."""
    gain: float = 0.3
    """The part of the way that is gone in one frame: by the wanted box to that around the joints, by the box to it."""
    start: float = 0.1
    """A box at rest is set in motion by a difference of this to the wanted box."""
    stop: float = 0.03
    """A box in motion comes to rest within this difference."""
    smallest: float = 0.1
    """Least longer side, as a part of the picture's shorter side."""


class CropFollower:
    """The box of the next frame, in pictures of one size (height, width), for crops shaped like `aspect`."""

    def __init__(self, picture: tuple[int, int], aspect: tuple[int, int], rule: FollowRule | None = None) -> None:
        self.picture = picture
        self.rule = rule if rule is not None else FollowRule()
        self._shape = np.array([aspect[1], aspect[0]], float) / max(aspect)
        self._search = self._search_boxes()
        self.reset()

    def reset(self) -> None:
        """Begin again: nobody is found, and the first box of the search is next."""
        self.box = self._search[0]
        self.found = False
        self._tried = 0
        self._low = 0
        self._wanted: NDArray[np.float64] | None = None
        self._moving = True

    def update(self, points: Points, scores: Points) -> None:
        """Learn from the joints `[J, 2]` (pixels of the picture) and scores `[J]` seen through the present box."""
        rule = self.rule
        mean = float(scores.mean())
        self._low = 0 if mean >= rule.lost else self._low + 1
        if self.found and self._low >= rule.patience:
            self.reset()
            return
        if not self.found:
            self.found = mean >= rule.found
            if not self.found:
                self._tried += 1
                self.box = self._search[self._tried // rule.patience % len(self._search)]
                return
        sure = points[scores >= rule.joint_score]
        if len(sure) >= rule.joints:
            self._follow(sure)

    def _follow(self, points: Points) -> None:
        low, high = points.min(axis=0), points.max(axis=0)
        side = self.rule.margin * float(((high - low) / self._shape).max())
        side = float(np.clip(side, self.rule.smallest * min(self.picture), self._largest()))
        around = np.array([*((low + high) / 2), side])
        self._wanted = around if self._wanted is None else self._wanted + self.rule.gain * (around - self._wanted)
        now = np.array([*self.box.centre, self.box.width / self._shape[0]])
        step = self._wanted - now
        difference = float(np.abs(step).max()) / now[2]
        self._moving = difference > (self.rule.stop if self._moving else self.rule.start)
        if self._moving:
            x, y, side = now + self.rule.gain * step
            self.box = self._at((x, y), side)

    def _largest(self) -> float:
        """Side of the smallest box that holds the whole picture."""
        return float(max(self.picture[1] / self._shape[0], self.picture[0] / self._shape[1]))

    def _at(self, centre: Sequence[float], side: float) -> Box:
        """A box there, moved into the picture along every axis on which it fits, else in the middle of that axis."""
        extent = side * self._shape
        room = np.array([self.picture[1], self.picture[0]]) - extent
        corner = np.where(room >= 0, np.clip(np.asarray(centre) - extent / 2, 0, np.maximum(room, 0)), room / 2)
        return Box(float(corner[0]), float(corner[1]), float(extent[0]), float(extent[1]))

    def _search_boxes(self) -> list[Box]:
        """The largest box inside the picture, in its middle and at its two ends, and the one that holds all of it."""
        height, width = self.picture
        inner = float(min(width / self._shape[0], height / self._shape[1]))
        places = [(width / 2, height / 2), (0.0, 0.0), (float(width), float(height))]
        boxes = [self._at(place, inner) for place in places]
        boxes.insert(1, self._at(places[0], self._largest()))
        return list(dict.fromkeys(boxes))
