"""Intervals against scipy's own tests."""

import math

import numpy as np
import pytest
from scipy import stats

from jaxvit.studies.statistics import mean_interval, paired_difference


@pytest.mark.parametrize("n", [2, 3, 5, 30])
@pytest.mark.parametrize("confidence", [0.95, 0.5])
def test_the_interval_is_scipys(n, confidence):
    values = np.random.default_rng(n).normal(3, 2, n)
    found = mean_interval(values.tolist(), confidence)
    expected = stats.ttest_1samp(values, 0).confidence_interval(confidence)
    assert found.n == n
    assert found.mean == pytest.approx(values.mean(), rel=1e-12)
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=1e-9)


@pytest.mark.parametrize("n", [2, 5])
def test_the_difference_is_that_of_scipys_paired_test(n):
    rng = np.random.default_rng(n)
    base = rng.normal(0, 10, n)  # what the seed adds to both is large, and cancels
    values = base + rng.normal(1, 0.02, n)
    found = paired_difference(dict(enumerate(values)), dict(enumerate(base)))
    expected = stats.ttest_rel(values, base).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=1e-9)
    assert found.mean == pytest.approx(1, abs=0.3)
    assert found.excludes_zero


def test_values_are_paired_by_seed_and_not_by_order():
    values, base = {2: 12.0, 0: 10.5, 7: 99.0}, {0: 10.0, 1: -5.0, 2: 11.0}
    found = paired_difference(values, base)
    assert found.n == 2
    assert found.mean == pytest.approx(0.75)


def test_one_value_has_no_interval_and_none_has_no_mean():
    one, none = mean_interval([3.0]), mean_interval([])
    assert one.mean == 3
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    assert not one.excludes_zero
    assert none.n == 0
    assert math.isnan(none.mean)


def test_the_t_interval_covers_the_mean_in_95_of_100_samples_of_three():
    samples = np.random.default_rng(0).normal(1, 1, (2000, 3))
    found = [mean_interval(sample.tolist()) for sample in samples]
    share = np.mean([each.low <= 1 <= each.high for each in found])
    assert 0.935 < share < 0.965
