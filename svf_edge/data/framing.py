"""Where a random camera puts a person in the picture, and how it moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from svf_edge.data.render import Camera

Array = NDArray[np.float32]


def random_framing(
    rng: np.random.Generator, joints: Array, distance: float, size: tuple[int, int]
) -> tuple[Camera, Array]:
    """A camera that shows camera-space `joints` [T, J, 3] at a random scale and place; its shifts [T, 2] px.

    Most people fill half of the picture or more; some are small, some are cut off by its border.
    """
    frames = len(joints)
    plane = Camera(np.ones(frames, np.float32), np.zeros((frames, 2), np.float32)).project(joints)
    follow = float(np.clip(rng.uniform(-0.5, 1.5), 0, 1))
    path = plane.mean(axis=1)
    drift = follow * (path - path.mean(axis=0))
    steady = plane - drift[:, None]
    low, high = steady.min(axis=(0, 1)), steady.max(axis=(0, 1))
    extent = max(float((high - low).max()), 1.1 / distance)
    side = min(size)
    kind = rng.random()
    if kind < 0.78:
        filled, freedom = rng.uniform(0.5, 0.95), 0.07
    elif kind < 0.9:  # far away, anywhere
        filled, freedom = rng.uniform(0.3, 0.5), 0.15
    else:  # close, partly outside
        filled, freedom = rng.uniform(0.95, 1.35), 0.12
    focal = np.full(frames, side * filled / extent)
    if rng.random() < 0.15:  # zooming
        focal *= np.exp(np.linspace(-0.5, 0.5, frames) * rng.normal(0, 0.03 * frames**0.5))
    shake = rng.choice(np.array([0.0, 0.0, 0.006, 0.015]))
    jitter = np.cumsum(rng.normal(0, shake * side, (frames, 2)), axis=0)
    shift = jitter - drift * focal[:, None]
    place = np.array([size[1], size[0]]) / 2 + np.clip(rng.normal(0, freedom, 2), -0.25, 0.25) * side
    if filled > 1:  # rather the head and chest than the feet
        place[1] += side * (filled - 1) * rng.uniform(-0.1, 0.5)
    centre = place - (low + high) / 2 * focal[:, None] + shift
    return Camera(focal.astype(np.float32), centre.astype(np.float32)), shift.astype(np.float32)
