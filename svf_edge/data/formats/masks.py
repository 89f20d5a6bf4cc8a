"""What sets of frames with masks share: pictures and masks of one size, cut and resized alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from svf_edge.data.formats.files import read_image, read_indices
from svf_edge.data.formats.labels import make_sample
from svf_edge.data.formats.region import Region, resize_pixels
from svf_edge.data.sample import UNKNOWN_PIXEL, Sample
from svf_edge.errors import BadFile

Pixels = NDArray[np.uint8]


def masked_clip(pictures: list[Path], masks: list[Path | None], table: Pixels, size: tuple[int, int]) -> Sample:
    """A clip of `pictures` with the `masks` that there are (None: unlabelled), cut around the centre to `size`.

    `table` `[256]` gives the class of every value in a mask. Raises BadFile for files that cannot be read, and for
    pictures or masks that differ in size.
    """
    frames = [read_image(path, "RGB") for path in pictures]
    shape = frames[0].shape[:2]
    labels = []
    for path, frame in zip(pictures, frames, strict=True):
        _require_shape(path, frame.shape, shape, pictures[0])
    for mask in masks:
        if mask is None:
            labels.append(np.full(shape, UNKNOWN_PIXEL, dtype=np.uint8))
            continue
        values = read_indices(mask)
        _require_shape(mask, values.shape, shape, pictures[0])
        labels.append(table[values])
    region = Region.centred((shape[0], shape[1]), size)
    stacked = resize_pixels(region.cut(np.stack(frames).transpose(0, 3, 1, 2)), size)
    return make_sample(stacked, mask=resize_mask(region.cut(np.stack(labels)), size))


def resize_mask(mask: Pixels, size: tuple[int, int]) -> Pixels:
    """Classes `[T, H, W]` at `size`: of every pixel the class in its middle."""
    rows, columns = (
        (2 * np.arange(wanted) + 1) * have // (2 * wanted) for have, wanted in zip(mask.shape[1:], size, strict=True)
    )
    return np.ascontiguousarray(mask[:, rows[:, None], columns])


def _require_shape(path: Path, have: tuple[int, ...], want: tuple[int, ...], first: Path) -> None:
    if have[:2] != want:
        raise BadFile(
            f"{path}: {have[1]}x{have[0]} pixels, {first.name} has {want[1]}x{want[0]}; pictures and masks of a clip "
            "must have one size"
        )
