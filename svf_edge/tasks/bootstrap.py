"""Bootstrap confidence intervals of means over clips."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95


def interval(
    total: NDArray[np.float64], count: NDArray[np.float64], groups: NDArray[np.int64], seed: int = 0
) -> tuple[float, float]:
    """The percentile interval (Efron 1979) of `sum(total) / sum(count)`, at `LEVEL`.

    `total` and `count` `[N]` are a clip's sum and number of counted values, `groups` `[N]` the clip's group. Whole
    groups are drawn: frames of a clip, and clips of one video, resemble each other and are no independent evidence.
    NaN with fewer than two groups that have values.
    """
    _, index = np.unique(groups, return_inverse=True)
    totals, counts = (np.bincount(index, weights=values) for values in (total, count))
    totals, counts = totals[counts > 0], counts[counts > 0]
    if len(counts) < 2:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(seed).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), RESAMPLES)
    means = (drawn @ totals) / (drawn @ counts)
    low, high = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)
