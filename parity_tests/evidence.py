"""What a claim rests on: rows of figures, and pictures.

A distance is measured against the truth, the PyTorch model in float64: for a quantity x, JAX is
|x_jax32 - x_64| from it and PyTorch |x_torch32 - x_64|. Both are relative, once by the maxima and
once by the root mean squares. JAX may be RATIO times as far as PyTorch, or closer than FLOOR.
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
      value: the figure that the limit is put on.
      limit: in words.
      holds: whether value keeps to it.
      details: further figures, by name.
    """

    quantity: str
    measure: str
    value: float
    limit: str
    holds: bool
    details: dict[str, float] = field(default_factory=dict)


@dataclass
class Evidence:
    """The rows of one claim, its matplotlib figures by caption, and what was left out and why."""

    rows: list[Row]
    figures: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class Finding:
    """A claim that was measured, or could not be.

    Attributes:
      number: from 1, in the order of CLAIMS.
      title: what is claimed.
      evidence: its rows and figures.
      seconds: that measuring took.
      failure: the error that ended the measuring, if one did.
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
        """The first row that fails, or else the largest ratio of errors."""
        failing = [row for row in self.evidence.rows if not row.holds]
        ratios = [row for row in self.evidence.rows if row.measure == "ratio of errors"]
        if failing:
            return failing[0]
        return max(ratios, key=lambda row: row.value, default=None)


def figure_of(finding: Finding) -> str:
    """Its worst row in a few words."""
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
    """(max |d| / max |truth|, rms d / rms truth), d = found - truth, in float64.

    Raises:
      ValueError: shapes differ, or the truth is nowhere different from 0.
    """
    found, truth = np.asarray(found, np.float64), np.asarray(truth, np.float64)
    if found.shape != truth.shape:
        raise ValueError(f"shapes {found.shape} and {truth.shape} differ")
    size = np.abs(truth).max()
    if not size > 0:
        raise ValueError("the truth is 0 everywhere: no relative distance exists")
    difference = found - truth
    rms = np.sqrt((difference**2).mean()) / np.sqrt((truth**2).mean())
    return float(np.abs(difference).max() / size), float(rms)


def distance(quantity: str, jax32: Any, torch32: Any, truth: Any, limit: float = RATIO) -> Row:
    """How far JAX is from the truth, over how far PyTorch is: the larger of max and rms."""
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
    """A count of differences that must be none."""
    return Row(quantity, measure, int(differences), "0", differences == 0)


def at_most(quantity: str, measure: str, value: float, limit: float) -> Row:
    return Row(quantity, measure, float(value), f"at most {limit:g}", bool(value <= limit))


def same_law(quantity: str, test: str, p_value: float, level: float) -> Row:
    """A two-sample test that does not reject, at a level fixed beforehand."""
    holds = bool(p_value >= level)
    return Row(quantity, f"p-value ({test})", float(p_value), f"at least {level:.2g}", holds)
