"""The part of a frame that a model sees: chosen, cut out and resized, with the labels that go with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from svf_edge.errors import MissingPackage

Array = NDArray[np.float32]
Pixels = NDArray[np.uint8]

OUTSIDE: Final = 128
"""Pixel value beyond the borders of a frame: the one that stands for zero in a model."""


@dataclass(frozen=True)
class Region:
    """A rectangle in whole source pixels; it may reach beyond the frame."""

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def centred(cls, source: tuple[int, int], size: tuple[int, int]) -> Region:
        """The largest part around the centre of a `source` (height, width) with the aspect ratio of `size`."""
        scale = min(source[0] / size[0], source[1] / size[1])
        height, width = min(round(size[0] * scale), source[0]), min(round(size[1] * scale), source[1])
        return cls((source[1] - width) // 2, (source[0] - height) // 2, width, height)

    @classmethod
    def around(cls, low: Array, high: Array, size: tuple[int, int], margin: float) -> Region:
        """The smallest part with the aspect ratio of `size` around the box `low`..`high` (x, y), centred on it.

        `margin` of the box's longer side is added on every side first.
        """
        extent = high - low + 2 * margin * float((high - low).max())
        scale = max(float(extent[0]) / size[1], float(extent[1]) / size[0], 1 / min(size))
        width, height = math.ceil(size[1] * scale), math.ceil(size[0] * scale)
        left, top = np.floor((low + high) / 2 - np.array([width, height]) / 2).astype(int)
        return cls(int(left), int(top), width, height)

    def points(self, points: Array, size: tuple[int, int]) -> Array:
        """Source points `[..., 2]` (x, y) in pixels of the region resized to `size`."""
        scale = np.array([size[1] / self.width, size[0] / self.height], dtype=np.float32)
        return ((points - np.array([self.left, self.top], dtype=np.float32)) * scale).astype(np.float32)

    def cut(self, frames: Pixels, outside: int = OUTSIDE) -> Pixels:
        """The region of `frames` `[..., H, W]`, `outside` where it leaves them."""
        height, width = frames.shape[-2:]
        rows = slice(max(self.top, 0), max(min(self.top + self.height, height), 0))
        columns = slice(max(self.left, 0), max(min(self.left + self.width, width), 0))
        part = frames[..., rows, columns]
        if part.shape[-2:] == (self.height, self.width):
            return part
        whole = np.full((*frames.shape[:-2], self.height, self.width), outside, dtype=np.uint8)
        if part.size:
            top, left = rows.start - self.top, columns.start - self.left
            whole[..., top : top + part.shape[-2], left : left + part.shape[-1]] = part
        return whole


def resize_pixels(frames: Pixels, size: tuple[int, int]) -> Pixels:
    """Frames `[T, C, H, W]` at `size` (height, width), with an anti-aliasing filter."""
    if frames.shape[2:] == size:
        return frames
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise MissingPackage("pillow", "video") from error
    planes = frames.reshape(-1, *frames.shape[2:])
    resized = [
        np.asarray(Image.fromarray(plane).resize((size[1], size[0]), Image.Resampling.BILINEAR)) for plane in planes
    ]
    return np.stack(resized).reshape(*frames.shape[:2], *size)


def resize_events(frames: Pixels, size: tuple[int, int]) -> Pixels:
    """Event frames `[..., H, W]` at `size`: the most of what falls into a cell, so that binary frames stay binary."""
    for axis, wanted in ((-2, size[0]), (-1, size[1])):
        have = frames.shape[axis]
        if wanted < have:
            first = -(-np.arange(wanted) * have // wanted)
            frames = np.maximum.reduceat(frames, first, axis=axis)
        elif wanted > have:
            frames = np.take(frames, np.arange(wanted) * have // wanted, axis=axis)
    return np.ascontiguousarray(frames)
