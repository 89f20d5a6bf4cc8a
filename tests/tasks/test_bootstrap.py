"""Bootstrap intervals: deterministic, as wide as theory says, and drawn by group."""

from __future__ import annotations

import math

import numpy as np
import pytest

from svf_edge.tasks.bootstrap import Measure
from svf_edge.tasks.bootstrap import interval as of_measure


def interval(total: np.ndarray, count: np.ndarray, groups: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Of a measure of one column."""
    return of_measure(Measure(total[:, None], count[:, None]), groups, seed=seed)


def test_as_wide_as_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(3, 2, 400)
    low, high = interval(values, np.ones(400), np.arange(400))
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)


def test_the_same_every_time() -> None:
    values = np.random.default_rng(2).normal(size=30)
    first, second, other = (interval(values, np.ones(30), np.arange(30), seed) for seed in (0, 0, 1))
    assert first == second != other


def test_copies_within_a_group_are_no_evidence() -> None:
    values = np.random.default_rng(3).normal(size=20)
    once = interval(values, np.ones(20), np.arange(20))
    copied = interval(np.repeat(values, 10), np.ones(200), np.repeat(np.arange(20), 10))
    naive = interval(np.repeat(values, 10), np.ones(200), np.arange(200))
    assert copied == pytest.approx(once)
    assert naive[1] - naive[0] < 0.5 * (once[1] - once[0])


def test_sums_and_counts_are_weighted() -> None:
    # The mean of all joints, not of clips: the clip with many joints pulls.
    low, high = interval(np.array([0.0, 90.0]), np.array([10.0, 90.0]), np.arange(2))
    assert (low, high) == (0.0, 1.0)
    low, high = interval(np.array([5.0, 5.0, 0.0]), np.array([10.0, 10.0, 0.0]), np.arange(3))
    assert (low, high) == (0.5, 0.5)


@pytest.mark.parametrize("counts", [[4.0, 0.0], [0.0, 0.0]])
def test_one_group_has_no_interval(counts: list[float]) -> None:
    assert all(map(math.isnan, interval(np.ones(2), np.array(counts), np.arange(2))))


def test_columns_are_averaged_and_empty_ones_left_out() -> None:
    """As the mean intersection over union is: sums first, then one ratio a class."""
    measure = Measure(np.array([[1.0, 2, 0], [3, 0, 0]]), np.array([[4.0, 2, 0], [4, 2, 0]]))
    assert measure.value() == pytest.approx((4 / 8 + 2 / 4) / 2)
    assert measure.of([1]).value() == pytest.approx((3 / 4 + 0 / 2) / 2)
    assert math.isnan(measure.of([]).value())
    low, high = of_measure(measure, np.arange(2))
    assert low == pytest.approx((3 / 4 + 0) / 2) and high == pytest.approx((1 / 4 + 1) / 2)


def test_a_difference_draws_the_same_groups_for_both() -> None:
    spread = np.random.default_rng(4).normal(0, 5, (50, 1))
    one, two = Measure(spread + 1, np.ones((50, 1))), Measure(2 * spread, 2 * np.ones((50, 1)))
    assert of_measure(one, np.arange(50), two) == pytest.approx((1, 1))
