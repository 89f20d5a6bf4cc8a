"""Surroundings: views into photographed panoramas, and procedural sky, ground, walls, poles and foliage."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from svf_edge.errors import MissingPackage

Array = NDArray[np.float32]
Image8 = NDArray[np.uint8]


@lru_cache(maxsize=1)
def panoramas() -> tuple[Image8, ...]:
    """The shipped equirectangular photographs (see their NOTICE.md), uint8 [H, 2 H, 3], twice as fine as stored."""
    return tuple(_load("panorama_", "RGB", 2))


@lru_cache(maxsize=1)
def textures() -> tuple[Array, ...]:
    """The shipped grey textures, float32 [H, W] with mean 1."""
    return tuple((grey / grey.mean()).astype(np.float32) for grey in _load("texture_", "L", 1))


def _load(prefix: str, mode: str, zoom: int) -> list[Image8]:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingPackage("pillow", "train") from error
    folder = resources.files("svf_edge").joinpath("assets/backgrounds")
    images: list[Image8] = []
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.name.startswith(prefix):
            with path.open("rb") as handle, Image.open(handle) as image:
                shown: Any = image.convert(mode).resize((image.width * zoom, image.height * zoom))
                images.append(np.asarray(shown, dtype=np.uint8))
    return images


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


def draw_background(rng: np.random.Generator, size: tuple[int, int], pitch: float, roll: float) -> Array:
    """One random scene [H, W, 3] in 0..1, seen by a camera looking down by `pitch` and turned by `roll` (radians)."""
    if rng.random() < 0.3:
        return _procedural(rng, size)
    image = photograph(rng, size, pitch, roll)
    if rng.random() < 0.3:
        image *= 0.55 + 0.9 * smooth_noise(rng, size, int(rng.integers(2, 9)), 1)  # patches of light and shade
    if rng.random() < 0.25:  # a piece of another place: a wall, a screen, a poster
        _draw_piece(rng, image, photograph(rng, size, 0.0, 0.0))
    for _ in range(int(rng.integers(0, 3))):
        _draw_box(rng, image, int(size[0] * rng.uniform(0.5, 0.9)))
    return image


def photograph(rng: np.random.Generator, size: tuple[int, int], pitch: float, roll: float) -> Array:
    """A perspective view [H, W, 3] of a random panorama in a random direction, its colours a little shifted."""
    choices = panoramas()
    panorama = choices[int(rng.integers(len(choices)))]
    height, width = panorama.shape[:2]
    angle = rng.uniform(np.radians(30), np.radians(80))
    reach = np.float32(np.tan(angle / 2) / max(size))
    x = (2 * np.arange(size[1], dtype=np.float32) + 1 - size[1]) * reach
    y = (2 * np.arange(size[0], dtype=np.float32) + 1 - size[0]) * reach
    if rng.random() < 0.5:
        x = -x
    cos_roll, sin_roll = np.float32(np.cos(roll)), np.float32(np.sin(roll))
    across = cos_roll * x[None] - sin_roll * y[:, None]
    down = sin_roll * x[None] + cos_roll * y[:, None]
    cos_pitch, sin_pitch = np.float32(np.cos(pitch)), np.float32(np.sin(pitch))
    ahead = cos_pitch - sin_pitch * down
    drop = sin_pitch + cos_pitch * down
    longitude = np.arctan2(across, ahead) * np.float32(width / (2 * np.pi))
    latitude = np.arctan2(drop, np.hypot(across, ahead)) * np.float32(height / np.pi)
    column = longitude.astype(np.int64) + int(rng.integers(width))  # whole pixels: what lies behind is out of focus
    row = np.clip(latitude + np.float32(height / 2), 0, height - 1).astype(np.int64)
    seen = panorama.reshape(-1, 3)[row * width + column % width]
    tint = rng.uniform(0.75, 1.2) * (1 + rng.uniform(-0.12, 0.12, 3)) / 255
    rows = seen.reshape(size[0], -1) * np.tile(tint.astype(np.float32), size[1])  # numpy is slow along an axis of three
    return np.asarray(rows.reshape(*size, 3), dtype=np.float32)


def _procedural(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    height, width = size
    image = np.empty((height, width, 3), dtype=np.float32)
    image[:] = (
        random_colour(rng)
        + (random_colour(rng) - random_colour(rng)) * np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None, None]
    )
    clouds = smooth_noise(rng, size, int(rng.integers(2, 7)), 1) - np.float32(0.5)
    hues = smooth_noise(rng, size, int(rng.integers(2, 7)), 3) - np.float32(0.5)
    image += np.float32(rng.uniform(0, 0.6)) * clouds + np.float32(rng.uniform(0, 0.2)) * hues
    horizon = int(height * rng.uniform(0.45, 1.1))
    if horizon < height:
        fade = np.linspace(rng.uniform(0.6, 1), rng.uniform(0.8, 1.2), height - horizon, dtype=np.float32)
        image[horizon:] = random_colour(rng) * fade[:, None, None]
    for _ in range(int(rng.integers(0, 9))):
        _draw_box(rng, image, horizon)
    grain = smooth_noise(rng, size, int(rng.integers(12, 40)), 1) - np.float32(0.5)
    image *= 1 + np.float32(rng.uniform(0, 0.9)) * grain
    weave = textures()[int(rng.integers(len(textures())))]
    strength = np.float32(rng.uniform(0.1, 0.8))
    top, left = rng.integers(0, np.maximum(np.array(weave.shape) - size, 0) + 1)
    patch = weave[top : top + height, left : left + width]
    begin = horizon if rng.random() < 0.5 and 0 < horizon < height else 0  # the ground alone, or everything
    patch = patch[: height - begin]
    image[begin : begin + patch.shape[0], : patch.shape[1]] *= (1 + strength * (patch - 1))[..., None]
    return image


def _draw_piece(rng: np.random.Generator, image: Array, other: Array) -> None:
    height, width = image.shape[:2]
    h, w = int(height * rng.uniform(0.2, 0.8)), int(width * rng.uniform(0.1, 0.6))
    y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    image[y : y + h, x : x + w] = other[y : y + h, x : x + w]


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
