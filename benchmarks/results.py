"""Reading stored results: files, distributions of samples, and least-squares lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from svf_edge.runtimes.latency import NOISY_TAIL, NOISY_VARIATION, Distribution

RESULTS = Path(__file__).parent / "results"

Turns = Sequence[Sequence[float]]


class NotMeasured(Exception):
    """There is no such result file yet."""


def load(name: str) -> dict[str, Any]:
    """A result file by its name without ending. Raises `NotMeasured`."""
    try:
        return dict(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise NotMeasured(name) from error


def distributions(samples: Mapping[str, Turns]) -> dict[str, Distribution]:
    """Statistics by variant over all turns."""
    return {name: Distribution.of([run for turn in turns for run in turn]) for name, turns in samples.items()}


def soundness(stats: Distribution) -> str:
    """A verdict on the measurement itself, by the rule of `svf-edge bench`."""
    return "noisy" if stats.variation > NOISY_VARIATION or stats.p99 > NOISY_TAIL * stats.p50 else "good"


@dataclass(frozen=True)
class Line:
    """`y = intercept + slope * x` by least squares; `worst` is the largest relative distance of a point from it."""

    slope: float
    intercept: float
    worst: float
    r_squared: float

    @classmethod
    def fit(cls, points: Mapping[float, float]) -> Line:
        """The line through at least two points."""
        x, y = (np.array(values, np.float64) for values in (list(points), list(points.values())))
        slope, intercept = np.polyfit(x, y, 1)
        fitted = intercept + slope * x
        spread = float(((y - y.mean()) ** 2).sum())
        residual = float(((y - fitted) ** 2).sum())
        return cls(float(slope), float(intercept), float(np.abs(fitted / y - 1).max()), 1 - residual / spread)


def growth(points: Mapping[float, float]) -> float:
    """The exponent k of the power law `y ~ x^k` that fits best: 1 is linear."""
    x, y = (np.log(np.array(values, np.float64)) for values in (list(points), list(points.values())))
    return float(np.polyfit(x, y, 1)[0])
