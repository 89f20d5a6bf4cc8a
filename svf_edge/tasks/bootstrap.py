"""Metrics as sums over clips, and their bootstrap confidence intervals."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """A metric of N clips: `total` and `count` `[N, K]`, a clip's sums and what they are divided by.

    Its value is the mean over columns of `sum(total) / sum(count)`, columns that count nothing left out. A mean over
    joints has one column; the mean intersection over union has one a class.
    """

    total: Floats
    count: Floats

    def value(self) -> float:
        """NaN where nothing counts."""
        return float(_ratios(self.total.sum(0), self.count.sum(0)))

    def of(self, places: Sequence[int] | NDArray[np.bool_]) -> Measure:
        """The same of some of the clips."""
        return Measure(self.total[places], self.count[places])


def interval(
    measure: Measure, groups: NDArray[np.int64], minus: Measure | None = None, seed: int = 0
) -> tuple[float, float]:
    """The percentile interval (Efron 1979) of a measure, or of its difference to another on the same clips, at `LEVEL`.

    `groups` `[N]` is the clip's group. Whole groups are drawn: frames of a clip, and clips of one video, resemble each
    other and are no independent evidence. NaN with fewer than two groups that have values.
    """
    _, index = np.unique(groups, return_inverse=True)
    measures = [_grouped(part, index) for part in (measure, minus) if part is not None]
    there = np.any([part.count.sum(1) > 0 for part in measures], axis=0)
    if there.sum() < 2:
        return float("nan"), float("nan")
    size = int(there.sum())
    drawn = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), RESAMPLES)
    values = [_ratios(drawn @ part.total[there], drawn @ part.count[there]) for part in measures]
    means = values[0] if minus is None else values[0] - values[1]
    means = means[~np.isnan(means)]
    low, high = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def _grouped(measure: Measure, index: NDArray[np.int64]) -> Measure:
    sums = [np.zeros((index.max() + 1, measure.total.shape[1])) for _ in range(2)]
    for total, part in zip(sums, (measure.total, measure.count), strict=True):
        np.add.at(total, index, part)
    return Measure(*sums)


def _ratios(total: Floats, count: Floats) -> Floats:
    """Means `[...]` over the columns of `[..., K]` that count something."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing is NaN, which is what it shall be
        ratio = np.where(count > 0, total / np.where(count > 0, count, 1), np.nan)
        return np.asarray(np.nanmean(ratio, axis=-1))
