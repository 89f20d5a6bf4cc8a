"""The One-Euro filter (Casiez, Roussel, Vogel: 1 Euro Filter, CHI 2012): still when at rest, quick when moving."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from svf_edge.errors import UnsupportedInput

Points = NDArray[np.float32]


@dataclass(frozen=True)
class OneEuro:
    """Parameters of the filter. Speeds are in sizes of the person's box a second, so they fit every resolution.

    `min_cutoff` (Hz) is the cut-off at rest: lower is smoother. `beta` raises it with speed: higher lags less.
    `speed_cutoff` (Hz) smooths the speed itself.
    """

    min_cutoff: float = 1.0
    beta: float = 4.0
    speed_cutoff: float = 1.0

    def __post_init__(self) -> None:
        values = (self.min_cutoff, self.beta, self.speed_cutoff)
        if not (all(map(math.isfinite, values)) and self.min_cutoff > 0 and self.beta >= 0 and self.speed_cutoff > 0):
            raise UnsupportedInput(
                f"smoothing with min_cutoff {self.min_cutoff}, beta {self.beta}, speed_cutoff {self.speed_cutoff}; "
                "cut-offs must be above 0 and beta at least 0"
            )


class OneEuroFilter:
    """Smooths the points of one stream."""

    def __init__(self, parameters: OneEuro) -> None:
        self._parameters = parameters
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next points pass as they are."""
        self._points: NDArray[np.float64] | None = None
        self._speed: NDArray[np.float64] = np.zeros(0)
        self._time = 0.0

    def __call__(self, points: Points, seconds: float, scale: float) -> Points:
        """Smoothed `points` `[J, 2]` (pixels) seen at time `seconds`; `scale` is the size of the person in pixels.

        A time that does not advance leaves the last result.
        """
        if self._points is None:
            self._points, self._speed, self._time = points.astype(np.float64), np.zeros(len(points)), seconds
            return points
        passed = seconds - self._time
        if passed > 0:
            speed = np.linalg.norm(points - self._points, axis=-1) / passed / scale
            self._speed += _weight(self._parameters.speed_cutoff, passed) * (speed - self._speed)
            cutoff = self._parameters.min_cutoff + self._parameters.beta * self._speed
            self._points = self._points + _weight(cutoff, passed)[:, None] * (points - self._points)
            self._time = seconds
        return self._points.astype(np.float32)


def _weight(cutoff: NDArray[np.float64] | float, seconds: float) -> NDArray[np.float64]:
    """What share a new value has in a low-pass of `cutoff` Hz after `seconds`."""
    return np.asarray(1 / (1 + 1 / (2 * math.pi * seconds * np.asarray(cutoff))))
