"""Rasterises people made of tapered capsules: all frames, parts and pixels of a clip in one vectorised pass.

Camera space is x right, y down, z away from the viewer, in metres; the image is continuous, pixel i covering
[i, i + 1). A capsule is drawn as the swept disc of its two projected end spheres, with a bulge in depth, which
is exact for spheres and close for limbs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

SUPERSAMPLING: Final[int] = 2
TEXTURE_SIZE: Final[int] = 16
NEAREST: Final[float] = 0.3
"""Depth (metres) at which points are held so that they stay in front of the camera."""


@dataclass(frozen=True)
class Camera:
    """Pinhole: `focal` in pixels, principal point `centre` [T, 2] in pixels."""

    focal: float
    centre: Array

    def project(self, points: Array) -> Array:
        """Pixels [T, N, 2] of camera-space points [T, N, 3]."""
        depth = np.maximum(points[..., 2:], NEAREST)
        return np.asarray(points[..., :2] / depth * self.focal + self.centre[:, None], dtype=np.float32)


@dataclass(frozen=True)
class Capsules:
    """K capsules over T frames, in camera space.

    `start`, `end` [T, K, 3]; radii [K] (metres). A point at fraction t of the axis with normal n has the
    second colour where `slope * t + n . facing > threshold`, else the first: sleeves by t, faces by the normal.
    `texture` [K] is the strength of the cloth pattern.
    """

    start: Array
    end: Array
    start_radius: Array
    end_radius: Array
    colours: Array  # [K, 2, 3], 0..1
    slope: Array  # [K]
    facing: Array  # [T, K, 3]
    threshold: Array  # [K]
    texture: Array  # [K]


@dataclass(frozen=True)
class Light:
    """`direction` [3] towards the light (unit, camera space), `ambient` and `diffuse` [3] per colour."""

    direction: Array
    ambient: Array
    diffuse: Array


@dataclass(frozen=True)
class Layer:
    """What was drawn: `colour` [T, H, W, 3] already multiplied by `coverage` [T, H, W] (0..1)."""

    colour: Array
    coverage: Array

    def over(self, background: Array) -> Array:
        """The layer composed onto `background` [T, H, W, 3]."""
        return np.asarray(self.colour + background * (1 - self.coverage[..., None]), dtype=np.float32)


def rasterise(capsules: Capsules, camera: Camera, light: Light, pattern: Array, size: tuple[int, int]) -> Layer:
    """Draws `capsules` into frames of `size` (height, width); `pattern` [16, 16] is the cloth, -1..1."""
    frames, count = capsules.start.shape[:2]
    height, width = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
    zoom = camera.focal * SUPERSAMPLING

    a = camera.project(capsules.start) * SUPERSAMPLING
    b = camera.project(capsules.end) * SUPERSAMPLING
    za = np.maximum(capsules.start[..., 2], NEAREST)
    zb = np.maximum(capsules.end[..., 2], NEAREST)
    ra = zoom * capsules.start_radius / za
    rb = zoom * capsules.end_radius / zb

    low = np.floor(np.minimum(a - ra[..., None], b - rb[..., None]))
    high = np.ceil(np.maximum(a + ra[..., None], b + rb[..., None]))
    limit = np.array([width, height])
    low = np.clip(low, 0, limit).astype(np.int32)
    high = np.clip(high, 0, limit).astype(np.int32)
    extent = (high - low).reshape(-1, 2)
    area = extent[:, 0] * extent[:, 1]

    # One row per pixel of each bounding box.
    owner = np.repeat(np.arange(frames * count, dtype=np.int32), area)
    first = np.cumsum(area) - area
    local = np.arange(len(owner), dtype=np.int32) - first.astype(np.int32)[owner]
    box_width = extent[:, 0].astype(np.int32)[owner]
    row = local // np.maximum(box_width, 1)
    corner = low.reshape(-1, 2)
    x = local - row * box_width + corner[:, 0][owner]
    y = row + corner[:, 1][owner]

    axis = b - a
    length = np.maximum(np.sum(axis * axis, axis=-1), np.float32(1e-6))
    unit = (axis / length[..., None]).reshape(-1, 2)
    axis = axis.reshape(-1, 2)
    px = x.astype(np.float32) + np.float32(0.5) - a[..., 0].reshape(-1)[owner]
    py = y.astype(np.float32) + np.float32(0.5) - a[..., 1].reshape(-1)[owner]
    t = np.clip(px * unit[:, 0][owner] + py * unit[:, 1][owner], 0, 1)
    px -= t * axis[:, 0][owner]
    py -= t * axis[:, 1][owner]
    radius = ra.reshape(-1)[owner] + t * (rb - ra).reshape(-1)[owner]
    bulge = radius * radius - px * px - py * py

    hit = np.flatnonzero(bulge > 0)
    owner, t, px, py, radius = owner[hit], t[hit], px[hit], py[hit], radius[hit]
    nz = np.sqrt(bulge[hit]) / radius
    depth_a, depth_step = za.reshape(-1), (zb - za).reshape(-1)
    part = owner % count
    metric = capsules.start_radius[part] + t * (capsules.end_radius - capsules.start_radius)[part]
    depth = depth_a[owner] + t * depth_step[owner] - nz * metric
    pixel = (owner // count) * (height * width) + y[hit] * width + x[hit]
    depth = depth.astype(np.float32)  # compared for equality below
    nearest = np.full(frames * height * width, np.inf, dtype=np.float32)
    np.minimum.at(nearest, pixel, depth)
    seen = np.flatnonzero(depth == nearest[pixel])

    owner, t, pixel = owner[seen], t[seen], pixel[seen]
    normal = np.stack([px[seen] / radius[seen], py[seen] / radius[seen], -nz[seen]], axis=1)
    colour = _shade(capsules, owner, t, normal, light, pattern)

    row, column = np.divmod(pixel, width)  # rows run on from frame to frame
    target = (row // SUPERSAMPLING) * size[1] + column // SUPERSAMPLING
    cells = frames * size[0] * size[1]
    share = 1.0 / SUPERSAMPLING**2
    coverage = np.bincount(target, minlength=cells) * share
    planes = [np.bincount(target, weights=colour[:, c], minlength=cells) * share for c in range(3)]
    over = np.maximum(coverage, 1.0)  # equal depths draw a pixel twice
    shape = (frames, *size)
    return Layer(
        colour=np.stack([p / over for p in planes], axis=-1).reshape(*shape, 3).astype(np.float32),
        coverage=np.minimum(coverage, 1.0).reshape(shape).astype(np.float32),
    )


def _shade(
    capsules: Capsules, owner: NDArray[np.int32], t: Array, normal: Array, light: Light, pattern: Array
) -> Array:
    """Colours [P, 3] of the visible points: `owner` is frame * K + capsule, `normal` [P, 3]."""
    count = capsules.start.shape[1]
    part = owner % count
    facing = capsules.facing.reshape(-1, 3)[owner]
    rule = capsules.slope[part] * t + np.einsum("pc,pc->p", normal, facing)
    second = (rule > capsules.threshold[part]).astype(np.int32)
    albedo = capsules.colours.reshape(-1, 3)[2 * part + second]
    u = (t * TEXTURE_SIZE).astype(np.int32) + 5 * part
    v = ((normal[:, 0] + 1) * (TEXTURE_SIZE // 2)).astype(np.int32)
    cloth = 1 + capsules.texture[part] * pattern[u % TEXTURE_SIZE, v % TEXTURE_SIZE]
    lit = np.clip(normal @ light.direction, 0, None)
    strength = light.ambient + lit[:, None] * light.diffuse
    return np.asarray(albedo * cloth[:, None] * strength, dtype=np.float32)
