"""What a camera does to a picture: exposure, blur, noise, scaling and compression."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@lru_cache(maxsize=1)
def _noise() -> Array:
    """A fixed stretch of standard normal noise; clips read it from random places, which costs next to nothing."""
    return np.random.default_rng(0).standard_normal(1 << 21, dtype=np.float32)


@lru_cache(maxsize=1)
def _cosines() -> Array:
    """The orthonormal DCT-II matrix [8, 8] of JPEG."""
    row, column = np.mgrid[:8, :8]
    matrix = np.cos((2 * column + 1) * row * np.pi / 16) / 2
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix, dtype=np.float32)


def expose(rng: np.random.Generator, image: Array) -> NDArray[np.uint8]:
    """Frames uint8 [T, 3, H, W] of scenes `image` [T, H, W, 3] in 0..1 (brighter is clipped), which is overwritten."""
    np.clip(image, 0, 1.5, out=image)
    if rng.random() < 0.15:
        _rescale(image)
    for axis in (1, 2):
        if rng.random() < 0.3:
            _smear(image, axis)
    gain = 255 * rng.uniform(0.75, 1.2) * (1 + rng.uniform(-0.08, 0.08, 3))
    haze = 255 * rng.uniform(0, 0.12)
    rows = image.reshape(len(image), image.shape[1], -1)
    rows *= np.tile(gain.astype(np.float32), image.shape[2])  # numpy is slow along an axis of three
    image += np.float32(haze)
    if rng.random() < 0.04:
        image = image.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    if rng.random() < 0.12:
        _compress(image, float(rng.uniform(6, 40)))
    grain = float(rng.uniform(0, 6))
    bank = _noise() if image.size <= _noise().size else np.resize(_noise(), image.size)
    begin = int(rng.integers(bank.size - image.size + 1))
    image += np.float32(grain) * bank[begin : begin + image.size].reshape(image.shape)
    np.clip(image, 0, 255, out=image)
    return np.ascontiguousarray(np.moveaxis(image.astype(np.uint8), -1, 1))


def _smear(image: Array, axis: int) -> None:
    """Mixes every pixel with the one before it along `axis`, in place."""
    rows = np.moveaxis(image, axis, 0)
    rows[1:] = (rows[1:] + rows[:-1]) * np.float32(0.5)


def _rescale(image: Array) -> None:
    """To half the size and back, in place: a small picture shown large."""
    height, width = image.shape[1] // 2 * 2, image.shape[2] // 2 * 2
    even = image[:, :height, :width]
    small = (even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]) * np.float32(0.25)
    for row in (0, 1):
        for column in (0, 1):
            even[:, row::2, column::2] = small
    _smear(image, 1)
    _smear(image, 2)


def _compress(image: Array, step: float) -> None:
    """Rounds 8x8 DCT coefficients to multiples of `step`, coarser for fine detail, in place (values 0..255)."""
    frames, height, width = image.shape[0], image.shape[1] // 8 * 8, image.shape[2] // 8 * 8
    whole = image[:, :height, :width]
    blocks = np.moveaxis(whole.reshape(frames, height // 8, 8, width // 8, 8, 3), (2, 4), (-2, -1))
    cosines = _cosines()
    steps = np.float32(step) * (1 + np.add.outer(np.arange(8), np.arange(8)).astype(np.float32) / 3)
    coded = np.rint(cosines @ np.ascontiguousarray(blocks) @ cosines.T / steps) * steps
    shown = cosines.T @ coded @ cosines
    whole[:] = np.moveaxis(shown, (-2, -1), (2, 4)).reshape(whole.shape)
