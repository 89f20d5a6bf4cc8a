"""Procedural surroundings: sky, ground, walls, windows, poles and foliage, all random and all cheap."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@lru_cache(maxsize=256)
def interpolation_matrix(coarse: int, fine: int) -> Array:
    """Linear interpolation [fine, coarse] from `coarse` samples to `fine`."""
    position = np.linspace(0, coarse - 1, fine)
    low = np.minimum(position.astype(int), coarse - 2)
    matrix = np.zeros((fine, coarse), dtype=np.float32)
    index = np.arange(fine)
    matrix[index, low] = 1 - (position - low)
    matrix[index, low + 1] = position - low
    return matrix


def smooth_noise(rng: np.random.Generator, size: tuple[int, int], cells: int, channels: int) -> Array:
    """Noise [H, W, channels] in 0..1 with about `cells` blobs a side."""
    coarse = rng.random((channels, cells, cells), dtype=np.float32)
    rows, columns = interpolation_matrix(cells, size[0]), interpolation_matrix(cells, size[1])
    return np.ascontiguousarray(np.moveaxis(rows @ coarse @ columns.T, 0, -1))


def random_colour(rng: np.random.Generator, spread: float = 0.25) -> Array:
    """A colour [3] in 0..1: a grey with a hue up to `spread`, weak hues being the common ones."""
    return np.clip(rng.random() + spread * rng.random() * rng.uniform(-1, 1, 3), 0.02, 1).astype(np.float32)


def draw_background(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    """One random scene [H, W, 3] in 0..1."""
    height, width = size
    image = np.empty((height, width, 3), dtype=np.float32)
    image[:] = (
        random_colour(rng)
        + (random_colour(rng) - random_colour(rng)) * np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None, None]
    )
    clouds = smooth_noise(rng, size, int(rng.integers(2, 7)), 1) - 0.5
    hues = smooth_noise(rng, size, int(rng.integers(2, 7)), 3) - 0.5
    image += rng.uniform(0, 0.6) * clouds + rng.uniform(0, 0.3) * hues
    horizon = int(height * rng.uniform(0.45, 1.1))
    if horizon < height:
        fade = np.linspace(rng.uniform(0.6, 1), rng.uniform(0.8, 1.2), height - horizon)
        image[horizon:] = random_colour(rng) * fade[:, None, None]
    for _ in range(int(rng.integers(0, 9))):
        _draw_box(rng, image, horizon)
    grain = smooth_noise(rng, size, int(rng.integers(12, 40)), 1) - 0.5
    fine = rng.random((height, width, 1), dtype=np.float32) - 0.5
    image *= 1 + rng.uniform(0, 0.9) * grain + rng.uniform(0, 0.4) * fine
    return image


def _draw_box(rng: np.random.Generator, image: Array, horizon: int) -> None:
    """A wall, window front, pole, bush or box, standing anywhere or on the ground line."""
    height, width = image.shape[:2]
    kind = rng.random()
    tall = rng.uniform(0.3, 1.2) if kind < 0.5 else rng.uniform(0.05, 0.5)
    wide = rng.uniform(0.02, 0.12) if kind < 0.3 else rng.uniform(0.08, 0.6)
    grounded = min(horizon + int(height * rng.uniform(0, 0.2)), height)
    bottom = grounded if rng.random() < 0.5 else int(rng.integers(height))
    x0 = int(width * rng.uniform(-0.2, 1))
    y0, y1 = max(bottom - int(tall * height), 0), max(bottom, 1)
    x0, x1 = max(x0, 0), max(x0 + max(int(wide * width), 1), 1)
    region = image[y0:y1, x0:x1]
    h, w = region.shape[:2]
    if h < 2 or w < 1:
        return
    colour = random_colour(rng, 0.35)
    if kind > 0.75:  # something round
        yy = np.linspace(-1, 1, h)[:, None]
        xx = np.linspace(-1, 1, w)[None]
        region[xx * xx + yy * yy < 1] = colour
        return
    if kind > 0.55:  # windows, shutters, fences
        period = int(rng.integers(2, 9))
        rows = (np.arange(h) % period < period / 2)[:, None]
        columns = (np.arange(w) % period < period / 2)[None] | (rng.random() < 0.4)
        region[:] = np.where((rows & columns)[..., None], colour, random_colour(rng))
        return
    region[:] = colour * np.linspace(rng.uniform(0.6, 1), 1, w, dtype=np.float32)[:, None]
