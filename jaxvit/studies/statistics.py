"""Means over seeds and differences paired by seed, with t intervals."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A mean of n values and its confidence interval.

    Attributes:
      mean: NaN if n is 0.
      low, high: NaN if n is below 2, because one value says nothing about the spread.
      n: number of values.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside; False where there is no interval."""
        return self.low > 0 or self.high < 0


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """m -+ t s / sqrt(n), with the quantile t of Student's distribution of n - 1 degrees.

    s is the standard deviation with n - 1 in the denominator. The interval holds if the values are
    independent and normally distributed.

    Args:
      values: n numbers.
      confidence: in (0, 1).

    Source: Student 1908, Biometrika 6.

    Example:
      >>> [f"{x:.3f}" for x in mean_interval([1.0, 2.0, 3.0])[:3]]
      ['2.000', '-0.484', '4.484']
    """
    from scipy.stats import t  # half a second

    n = len(values)
    mean = float(np.mean(values)) if n else math.nan
    if n < 2:
        return Interval(mean, math.nan, math.nan, n)
    spread = float(t.ppf((1 + confidence) / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return Interval(mean, mean - spread, mean + spread, n)


def paired_difference(
    values: Mapping[int, float], baseline: Mapping[int, float], confidence: float = 0.95
) -> Interval:
    """The mean of value - baseline over the seeds that both have, and its t interval.

    Runs of one seed share initial weights and order, so that what the seed adds to both cancels.

    Args:
      values, baseline: by seed.
      confidence: in (0, 1).

    Example:
      >>> paired_difference({0: 3.0, 1: 5.0, 2: 9.0}, {0: 1.0, 1: 3.0}).mean
      2.0
    """
    seeds = sorted(values.keys() & baseline.keys())
    return mean_interval([values[seed] - baseline[seed] for seed in seeds], confidence)
