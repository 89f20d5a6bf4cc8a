from __future__ import annotations

import numpy as np
import pytest

from svf_edge.errors import UnsupportedInput
from svf_edge.runtimes.tracking.smoothing import OneEuro, OneEuroFilter

RATE = 30.0


def smoothed(points: np.ndarray, parameters: OneEuro) -> np.ndarray:
    made = OneEuroFilter(parameters)
    return np.stack([made(step.astype(np.float32), index / RATE, 100.0) for index, step in enumerate(points)])


def test_a_subject_at_rest_is_calmed_and_a_moving_one_is_not_left_behind() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (300, 13, 2))
    rest = smoothed(noise + 50, OneEuro())
    assert np.diff(rest[30:], axis=0).std() < 0.5 * np.diff(noise[30:], axis=0).std()
    moving = noise + 50 + np.arange(300)[:, None, None] * 5.0  # 1.5 person sizes a second
    quick, slow = (smoothed(moving, OneEuro(1.0, beta))[-100:] for beta in (4.0, 0.0))
    lag, slow_lag = (float((moving[-100:] - found).mean()) for found in (quick, slow))
    assert lag < 5 < slow_lag  # less than one frame


def test_it_is_the_same_at_every_resolution() -> None:
    points = np.random.default_rng(1).normal(0, 10, (50, 13, 2)).cumsum(0)
    small, large = OneEuroFilter(OneEuro()), OneEuroFilter(OneEuro())
    for index, step in enumerate(points):
        one = small(step.astype(np.float32), index / RATE, 100.0)
        two = large((8 * step).astype(np.float32), index / RATE, 800.0)
    np.testing.assert_allclose(8 * one, two, rtol=1e-5)


def test_a_reset_forgets_and_time_that_stands_still_changes_nothing() -> None:
    made = OneEuroFilter(OneEuro())
    first = np.zeros((13, 2), np.float32)
    np.testing.assert_array_equal(made(first, 1.0, 100.0), first)
    np.testing.assert_array_equal(made(first + 10, 1.0, 100.0), first)
    assert 0 < made(first + 10, 1.1, 100.0).mean() < 10
    made.reset()
    np.testing.assert_array_equal(made(first + 10, 1.2, 100.0), first + 10)


@pytest.mark.parametrize("values", [(0, 1, 1), (1, -1, 1), (1, 1, 0), (float("nan"), 1, 1)])
def test_bad_parameters_are_named(values: tuple[float, float, float]) -> None:
    with pytest.raises(UnsupportedInput, match="min_cutoff"):
        OneEuro(*values)
