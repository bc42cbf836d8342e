"""The evidence for a claim: rows of measured values, and plots.

The reference (`truth` in the code) is the PyTorch model in float64. For a quantity x, JAX's
distance from it is |x_jax32 - x_64| and PyTorch's is |x_torch32 - x_64|. Both are made relative,
once by the maxima and once by the root mean squares. JAX's distance may be at most RATIO times
PyTorch's, or at most FLOOR.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parity_tests.comparison import FLOOR, RATIO


@dataclass(frozen=True)
class Row:
    """One line of the certificate.

    Attributes:
      quantity: what was compared.
      measure: what `value` is: "ratio of errors", "p-value", "differing bytes", ...
      value: the measured value that has to be within the limit.
      limit: the limit, in words.
      holds: whether value is within the limit.
      details: further measured values, by name.
    """

    quantity: str
    measure: str
    value: float
    limit: str
    holds: bool
    details: dict[str, float] = field(default_factory=dict)


@dataclass
class Evidence:
    """What was measured for one claim.

    Attributes:
      rows: the measured values, with their limits.
      figures: matplotlib figures, by caption.
      notes: remarks, such as what was not measured and why.
    """

    rows: list[Row]
    figures: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class Finding:
    """The result of measuring one claim.

    Attributes:
      number: position in CLAIMS, counted from 1.
      title: what is claimed.
      evidence: its rows, figures and notes; without rows after an exception.
      seconds: wall-clock time of the measurement.
      failure: the exception that stopped the measurement, or None.
    """

    number: int
    title: str
    evidence: Evidence
    seconds: float
    failure: str | None = None

    @property
    def holds(self) -> bool:
        return self.failure is None and all(row.holds for row in self.evidence.rows)

    @property
    def worst(self) -> Row | None:
        """The first row that fails, or else the row with the largest ratio of errors, if any."""
        failing = [row for row in self.evidence.rows if not row.holds]
        ratios = [row for row in self.evidence.rows if row.measure == "ratio of errors"]
        if failing:
            return failing[0]
        return max(ratios, key=lambda row: row.value, default=None)


def figure_of(finding: Finding) -> str:
    """One line for the table of claims: the exception, the worst row, or the number of rows."""
    if finding.failure:
        return finding.failure
    row = finding.worst
    if row is None:
        return f"{len(finding.evidence.rows)} figures within their limits"
    if row.measure == "ratio of errors":
        details = row.details
        return f"{row.value:.2f} ({details['jax_max']:.1e} : {details['torch_max']:.1e})"
    return f"{row.quantity}: {row.measure} {row.value:.3g}, limit {row.limit}"


def error(found: Any, truth: Any) -> tuple[float, float]:
    """(max |d| / max |truth|, rms d / rms truth), with d = found - truth, in float64.

    Args:
      found, truth: arrays or tensors of the same shape.

    Raises:
      ValueError: the shapes differ, or truth is 0 everywhere.
    """
    found, truth = np.asarray(found, np.float64), np.asarray(truth, np.float64)
    if found.shape != truth.shape:
        raise ValueError(f"shapes {found.shape} and {truth.shape} differ")
    size = np.abs(truth).max()
    if not size > 0:
        raise ValueError("the reference is 0 everywhere: a relative distance is undefined")
    difference = found - truth
    rms = np.sqrt((difference**2).mean()) / np.sqrt((truth**2).mean())
    return float(np.abs(difference).max() / size), float(rms)


def distance(quantity: str, jax32: Any, torch32: Any, truth: Any, limit: float = RATIO) -> Row:
    """A row with JAX's error over PyTorch's: the ratio of maxima or of rms, whichever is larger.

    The row holds if the ratio is at most `limit`, or if both of JAX's errors are at most FLOOR.

    Args:
      quantity: what is compared.
      jax32, torch32: its values in float32, from each framework.
      truth: its value in float64.
      limit: on the ratio.

    Raises:
      ValueError: see error.
    """
    ours, theirs = error(jax32, truth), error(torch32, truth)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(np.max(np.where(np.equal(ours, 0), 0.0, np.divide(ours, theirs))))
    return Row(
        quantity,
        "ratio of errors",
        ratio,
        f"at most {limit:g}, or JAX within {FLOOR:g}",
        bool(ratio <= limit or max(ours) <= FLOOR),
        {"jax_max": ours[0], "jax_rms": ours[1], "torch_max": theirs[0], "torch_rms": theirs[1]},
    )


def equal(quantity: str, measure: str, differences: int) -> Row:
    """A row that holds if the number of differences is 0."""
    return Row(quantity, measure, int(differences), "0", differences == 0)


def at_most(quantity: str, measure: str, value: float, limit: float) -> Row:
    """A row that holds if value <= limit."""
    return Row(quantity, measure, float(value), f"at most {limit:g}", bool(value <= limit))


def same_distribution(quantity: str, test: str, p_value: float, level: float) -> Row:
    """A row that holds if a two-sample test does not reject: p_value >= level.

    Args:
      quantity: what both frameworks draw.
      test: name of the test.
      p_value: of the hypothesis that both samples have the same distribution, in [0, 1].
      level: significance level, fixed beforehand, in (0, 1).
    """
    holds = bool(p_value >= level)
    return Row(quantity, f"p-value ({test})", float(p_value), f"at least {level:.2g}", holds)
