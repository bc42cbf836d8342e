"""The table of a study: a row for each metric and configuration."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxvit.studies.plan import Run
from jaxvit.studies.statistics import Interval, mean_interval, paired_difference
from jaxvit.studies.study import Study

COLUMNS = ("metric", "configuration", "n", "mean", "95 % interval", "difference", "95 % interval")


class Row(NamedTuple):
    """One metric of one configuration.

    Attributes:
      metric: its title.
      label: of the configuration.
      values: by seed, of the finished runs.
      mean: over these seeds.
      difference: to the baseline, paired by seed; None for the baseline itself.
      form: format of the metric.
      lacks: whether the configuration's runs are without this metric, which is optional.
    """

    metric: str
    label: str
    values: dict[int, float]
    mean: Interval
    difference: Interval | None
    form: str
    lacks: bool = False

    def cells(self) -> tuple[str, ...]:
        """Of COLUMNS. An asterisk marks a difference whose interval excludes 0."""
        of_the_mean = (
            self.metric,
            self.label,
            str(self.mean.n),
            f"{self.mean.mean:{self.form}}" if self.mean.n else "",
            _limits(self.mean, self.form),
        )
        if self.difference is None:
            return (*of_the_mean, "baseline", "")
        mark = " *" if self.difference.excludes_zero else ""
        shown = f"{self.difference.mean:+{self.form}}{mark}" if self.difference.n else ""
        return (*of_the_mean, shown, _limits(self.difference, f"+{self.form}"))


def _limits(interval: Interval, form: str) -> str:
    """Nothing where one value, or none, has no interval."""
    return f"{interval.low:{form}} to {interval.high:{form}}" if interval.n > 1 else ""


def tabulate(study: Study, summaries: Mapping[Run, Mapping[str, Any]]) -> list[Row]:
    """Means over seeds, and differences paired by seed.

    Args:
      study: whose configurations and metrics these are.
      summaries: of the finished runs.

    Raises:
      UserError: a summary lacks a metric.
    """
    rows = []
    for metric in study.metrics:
        values: dict[str, dict[int, float]] = {label: {} for label in study.configurations}
        for run, summary in summaries.items():
            value = metric.read(summary, run.path)
            if value is not None:
                values[run.label][run.seed] = value
        base = values[study.baseline]
        for label, found in values.items():
            mean = mean_interval(list(found.values()))
            difference = None if label == study.baseline else paired_difference(found, base)
            lacks = metric.optional and not found
            rows.append(Row(metric.title, label, found, mean, difference, metric.form, lacks))
    return rows


def notes(rows: Sequence[Row], seeds: int, follow_seed: Sequence[str] = ()) -> list[str]:
    """What a reader has to know about these intervals.

    Args:
      rows: of tabulate.
      seeds: of each configuration.
      follow_seed: options that follow the seed; see Study.
    """
    compared = [row.difference for row in rows if row.difference and row.difference.n > 1]
    lines = [
        "Intervals are t intervals over seeds, which draw initial weights, order and augmentation. "
        + (
            f"They also set {', '.join(follow_seed)}: see what that changes."
            if follow_seed
            else "All runs are scored on the same test images: what other images would give is not "
            "in them."
        ),
        "Differences are paired by seed; those of percentages are in points.",
    ]
    if compared:
        marked = sum(each.excludes_zero for each in compared)
        lines.append(
            f"{marked} of {len(compared)} differences have an interval that excludes 0 (*). "
            f"Without any effect {len(compared) / 20:.1f} would, by chance."
        )
    missing = [
        f"{row.label} ({row.mean.n})" for row in rows if row.mean.n < seeds and not row.lacks
    ]
    if missing:
        lines.append(
            f"Fewer than {seeds} runs are finished of: {', '.join(dict.fromkeys(missing))}."
        )
    if seeds < 3:
        lines.append(f"{seeds} seed(s) are too few to tell an effect from chance.")
    return lines
