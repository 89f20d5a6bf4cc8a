"""Rasterises people made of tapered capsules: all frames, parts and pixels of a clip in one vectorised pass.

Camera space is x right, y down, z away from the viewer, in metres; the image is continuous, pixel i covering
[i, i + 1). A capsule is drawn as the swept disc of its two projected end spheres, with a bulge in depth, which
is exact for spheres and close for limbs. Edges are smoothed by the distance of a pixel's centre from the outline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

TEXTURE_SIZE: Final[int] = 16
NEAREST: Final[float] = 0.3
"""Depth (metres) at which points are held so that they stay in front of the camera."""

_DEPTH_STEPS: Final = 2.0**14  # a metre; keys are depth above, index of the candidate below
_INDEX_BITS: Final = 32
_NOTHING: Final = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Camera:
    """Pinhole: `focal` [T] in pixels, principal point `centre` [T, 2] in pixels."""

    focal: Array
    centre: Array

    def project(self, points: Array) -> Array:
        """Pixels [T, N, 2] of camera-space points [T, N, 3]."""
        scale = self.focal[:, None, None] / np.maximum(points[..., 2:], NEAREST)
        return np.asarray(points[..., :2] * scale + self.centre[:, None], dtype=np.float32)


@dataclass(frozen=True)
class Capsules:
    """K capsules over T frames, in camera space.

    `start`, `end` [T, K, 3]; radii [K] (metres). A point at fraction t of the axis with normal n has the
    second colour where `slope * t + n . facing > threshold`, else the first: sleeves by t, faces by the normal.
    `texture` [K, 3] is the strength of the cloth pattern in each colour, `cloth` [K] which pattern it is, `label` [K]
    the class of the capsule's pixels.
    """

    start: Array
    end: Array
    start_radius: Array
    end_radius: Array
    colours: Array  # [K, 2, 3], 0..1
    slope: Array  # [K]
    facing: Array  # [T, K, 3]
    threshold: Array  # [K]
    texture: Array  # [K, 3]
    cloth: NDArray[np.int64]  # [K]
    label: NDArray[np.uint8]  # [K]

    def __len__(self) -> int:
        return self.start.shape[1]


def join_capsules(groups: Sequence[Capsules]) -> Capsules:
    """The capsules of several people, in order."""
    over_time = ("start", "end", "facing")
    return Capsules(
        **{
            f.name: np.concatenate([getattr(g, f.name) for g in groups], int(f.name in over_time))
            for f in fields(Capsules)
        }
    )


@dataclass(frozen=True)
class Light:
    """`direction` [3] towards the light (unit, camera space), `ambient` and `diffuse` [3] per colour."""

    direction: Array
    ambient: Array
    diffuse: Array


@dataclass(frozen=True)
class Layer:
    """What was drawn into frames of `shape` (T, H, W): P covered pixels, the first `solid` of them whole.

    The others are edges, one a pixel, that lie on whatever is behind them, which may be a whole pixel here.
    """

    shape: tuple[int, int, int]
    solid: int
    pixel: NDArray[np.int64]  # [P], flat index into `shape`
    colour: Array  # [P, 3]
    alpha: Array  # [P], 1 where whole
    part: NDArray[np.int64]  # [P], index of the capsule

    def draw(self, image: Array) -> None:
        """Composes the layer onto `image` [T, H, W, 3], contiguous, in place."""
        flat = image.reshape(-1, 3)
        flat[self.pixel[: self.solid]] = self.colour[: self.solid]
        edge = self.pixel[self.solid :]
        behind = flat[edge]
        flat[edge] = behind + self.alpha[self.solid :, None] * (self.colour[self.solid :] - behind)

    def coverage(self) -> Array:
        """Share [T, H, W] of every pixel that is covered, 0..1."""
        share = np.zeros(np.prod(self.shape), dtype=np.float32)
        edge = self.pixel[self.solid :]
        share[edge] = self.alpha[self.solid :]
        share[self.pixel[: self.solid]] = 1
        return share.reshape(self.shape)

    def parts(self) -> NDArray[np.int16]:
        """Index [T, H, W] of the foremost capsule that covers at least half of a pixel, -1 where there is none."""
        owner = np.full(np.prod(self.shape), -1, dtype=np.int16)
        seen = self.alpha >= 0.5
        owner[self.pixel[seen]] = self.part[seen]  # edges come after what they lie on
        return owner.reshape(self.shape)


def rasterise(capsules: Capsules, camera: Camera, light: Light, patterns: Array, size: tuple[int, int]) -> Layer:
    """Draws `capsules` into frames of `size` (height, width); `patterns` [N, 16, 16] are the cloths, -1..1."""
    frames, count = capsules.start.shape[:2]
    rows = _Rows.of(capsules, camera, size)
    length = rows.length
    total = int(length.sum())

    # One entry per pixel of every row of every capsule.
    begin = rows.x - (np.cumsum(length) - length)
    column = np.arange(total) + np.repeat(begin, length)
    x = column.astype(np.float32)
    pixel = column + np.repeat(rows.pixel, length)
    along_x, along_0, across_x, across_0, axis, radius_0, radius_step, depth_0, depth_step, bulge = np.repeat(
        rows.terms, length, axis=1
    )
    raw = along_x * x
    raw += along_0
    t = np.minimum(np.maximum(raw, 0), 1)
    beyond = (raw - t) * axis
    across = across_x * x
    across += across_0
    away = beyond * beyond + across * across
    radius = radius_0 + t * radius_step
    inside = radius - np.sqrt(away)
    facing = np.sqrt(np.maximum(1 - away / (radius * radius), 0))
    depth = (depth_0 + t * depth_step) * (1 - facing * radius * bulge)
    key = (depth * np.float32(_DEPTH_STEPS)).astype(np.int64) << _INDEX_BITS
    key |= np.arange(total)

    nearest = np.full(frames * size[0] * size[1], _NOTHING)
    whole = np.flatnonzero(inside >= 0.5)
    np.minimum.at(nearest, pixel[whole], key[whole])
    solid_pixel = np.flatnonzero(nearest != _NOTHING)
    solid = nearest[solid_pixel]
    edge = np.flatnonzero(np.abs(inside) < 0.5)
    edge_pixel, edge_key = pixel[edge], key[edge]
    front = np.flatnonzero(edge_key < nearest[edge_pixel])
    edge_pixel, edge_key = edge_pixel[front], edge_key[front]
    np.minimum.at(nearest, edge_pixel, edge_key)
    edge_key = edge_key[edge_key == nearest[edge_pixel]]

    seen = np.concatenate([solid, edge_key]) & ((1 << _INDEX_BITS) - 1)
    owner = np.repeat(rows.owner, length)[seen]
    part = owner % count
    ux, uy = rows.direction[:, owner]
    outward = beyond[seen], across[seen]
    scale = 1 / radius[seen]
    normal = np.stack(
        [(ux * outward[0] - uy * outward[1]) * scale, (uy * outward[0] + ux * outward[1]) * scale, -facing[seen]],
        axis=1,
    )
    return Layer(
        shape=(frames, *size),
        solid=len(solid),
        pixel=pixel[seen],
        colour=_shade(capsules, part, owner, t[seen], normal, light, patterns),
        alpha=np.minimum(inside[seen] + np.float32(0.5), 1),
        part=part,
    )


@dataclass(frozen=True)
class _Rows:
    """Rows of pixels that capsules may cover: R rows, each a run of `length` pixels from column `x`."""

    x: NDArray[np.int64]
    length: NDArray[np.int64]
    pixel: NDArray[np.int64]  # flat index of the row's column 0
    owner: NDArray[np.int64]  # frame * K + capsule
    terms: Array  # [10, R]: what `rasterise` needs at a pixel, linear in its column
    direction: Array  # [2, T * K]: unit axis of every capsule in the image

    @classmethod
    def of(cls, capsules: Capsules, camera: Camera, size: tuple[int, int]) -> _Rows:
        height, width = size
        focal = camera.focal[:, None]
        a, b = camera.project(capsules.start).reshape(-1, 2).T, camera.project(capsules.end).reshape(-1, 2).T
        za = np.maximum(capsules.start[..., 2], NEAREST)
        zb = np.maximum(capsules.end[..., 2], NEAREST)
        ra = (focal * capsules.start_radius / za).reshape(-1)
        rb = (focal * capsules.end_radius / zb).reshape(-1)
        axis = b - a
        distance = np.maximum(np.hypot(axis[0], axis[1]), np.float32(1e-3))
        direction = np.where(distance > np.float32(2e-3), axis / distance, np.array([[1], [0]], dtype=np.float32))
        reach = np.float32(0.5)

        top = np.clip(np.floor(np.minimum(a[1] - ra, b[1] - rb) - reach), 0, height).astype(np.int64)
        bottom = np.clip(np.ceil(np.maximum(a[1] + ra, b[1] + rb) + reach), 0, height).astype(np.int64)
        spread = bottom - top
        owner = np.repeat(np.arange(len(ra)), spread)
        y = np.arange(len(owner)) + np.repeat(top - (np.cumsum(spread) - spread), spread)

        per_capsule = np.stack([*a, *b, *direction, distance, ra, rb, za.reshape(-1), zb.reshape(-1)])
        ax, ay, bx, by, ux, uy, far, r0, r1, z0, z1 = per_capsule[:, owner]
        centre = y.astype(np.float32) + np.float32(0.5)
        ya, yb = centre - ay, centre - by
        # The run holds both discs and the box between them.
        wide_a = (r0 + reach) ** 2 - ya * ya
        wide_b = (r1 + reach) ** 2 - yb * yb
        half_a, half_b = np.sqrt(np.maximum(wide_a, 0)), np.sqrt(np.maximum(wide_b, 0))
        broad = np.maximum(r0, r1) + reach
        small = np.float32(1e-4)
        sin = np.where(np.abs(uy) < small, small, uy)
        cos = np.where(np.abs(ux) < small, small, ux)
        side = np.abs(broad / sin)
        middle = ax + ya * ux / sin
        first, last = ax - ya * uy / cos, ax + (far - ya * uy) / cos
        box_low = np.maximum(middle - side, np.minimum(first, last))
        box_high = np.minimum(middle + side, np.maximum(first, last))
        none = np.float32(1e6)
        hit = box_low < box_high
        low = np.where(hit, box_low, none)
        high = np.where(hit, box_high, -none)
        low = np.minimum(
            low, np.minimum(np.where(wide_a > 0, ax - half_a, none), np.where(wide_b > 0, bx - half_b, none))
        )
        high = np.maximum(
            high, np.maximum(np.where(wide_a > 0, ax + half_a, -none), np.where(wide_b > 0, bx + half_b, -none))
        )
        x0 = np.clip(np.ceil(low - np.float32(0.5)), 0, width).astype(np.int64)
        x1 = np.clip(np.floor(high - np.float32(0.5)) + 1, 0, width).astype(np.int64)
        length = np.maximum(x1 - x0, 0)

        shift = np.float32(0.5) - ax
        turn = 1 / np.repeat(camera.focal, len(capsules))[owner]
        terms = np.stack(
            [
                ux / far,
                (shift * ux + ya * uy) / far,
                -uy,
                ya * ux - shift * uy,
                far,
                r0,
                r1 - r0,
                z0,
                z1 - z0,
                turn,
            ]
        )
        frame = owner // len(capsules)
        return cls(x0, length, (frame * height + y) * width, owner, terms, direction)


def _shade(
    capsules: Capsules,
    part: NDArray[np.int64],
    owner: NDArray[np.int64],
    t: Array,
    normal: Array,
    light: Light,
    patterns: Array,
) -> Array:
    """Colours [P, 3] of visible points: `part` is the capsule, `owner` is frame * K + capsule, `normal` [P, 3]."""
    facing = capsules.facing.reshape(-1, 3)[owner]
    rule = capsules.slope[part] * t + np.einsum("pc,pc->p", normal, facing)
    second = rule > capsules.threshold[part]
    u = (t * TEXTURE_SIZE).astype(np.int64) + 5 * part
    v = ((normal[:, 0] + 1) * (TEXTURE_SIZE // 2)).astype(np.int64)
    weave = patterns[capsules.cloth[part], u % TEXTURE_SIZE, v % TEXTURE_SIZE]
    lit = np.maximum(normal @ light.direction, 0)
    # Colour by colour: numpy is slow along an axis of three.
    albedo = capsules.colours.reshape(-1, 3).T[:, 2 * part + second]
    cloth = capsules.texture.T[:, part]
    cloth *= weave
    cloth += 1
    albedo *= cloth
    albedo *= light.ambient[:, None] + light.diffuse[:, None] * lit
    return np.ascontiguousarray(albedo.T)
