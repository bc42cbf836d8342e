"""Configurations side by side: each seed, the mean and its interval, and reliability."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxvit.pictures.figure import GREY, TRAIN, VAL, literal, make_figure

COLUMNS = 3
LETTERS = 42  # of the title, on each column of panels


class Panel(NamedTuple):
    """One metric.

    Attributes:
      title: its name.
      values: for each configuration, that of every seed; NaN where there is none.
      means: for each configuration (mean, low, high); NaN where there is none.
      percent: whether it is a share.
    """

    title: str
    values: Sequence[Sequence[float]]
    means: Sequence[tuple[float, float, float]]
    percent: bool = False


Curve = tuple[Sequence[float], Sequence[float], Sequence[float]]


def plot_study(
    question: str, labels: Sequence[str], panels: Sequence[Panel], curves: Mapping[str, Curve]
):
    """A panel for each metric, and one of reliability curves where there are any.

    A panel leaves out configurations without any value, such as generators among classifiers.

    Args:
      question: the title.
      labels: of the configurations, in order.
      panels: of the metrics.
      curves: label -> sums over each of M equal bins of confidence: the number of examples, of
        their confidences, and of those that are right; see jaxvit.objectives.metrics.Counts.
    """
    number = len(panels) + bool(curves)
    columns = min(number, COLUMNS)
    rows = math.ceil(number / columns)
    figure, axes = make_figure(rows, columns, 4.4 * columns, 3.6 * rows + 0.4)
    for axis, panel in zip(axes.flat, panels, strict=False):
        _plot_panel(axis, labels, panel)
    if curves:
        _plot_reliability(axes.flat[len(panels)], curves)
    for axis in axes.flat[number:]:
        axis.remove()
    figure.suptitle(literal(textwrap.fill(question, LETTERS * columns)))
    return figure


def _plot_panel(axis, labels: Sequence[str], panel: Panel) -> None:
    from matplotlib.ticker import PercentFormatter

    values = np.asarray(panel.values, float)
    kept = np.isfinite(values).any(axis=1)
    if not kept.any():
        kept[:] = True
    labels = [label for label, has in zip(labels, kept, strict=True) if has]
    positions = np.arange(len(labels))
    # Beside the mean, so that its interval stays legible; a line joins the runs of one seed.
    points = {"marker": "o", "ms": 4, "mew": 0, "lw": 0.6, "alpha": 0.5, "color": TRAIN}
    axis.plot(positions - 0.15, values[kept], **points)
    means = np.asarray(panel.means, float)[kept]  # (configurations, 3)
    drawn = np.isfinite(means[:, 0])
    spread = np.nan_to_num(np.abs(means[drawn, 1:] - means[drawn, :1])).T  # none is a point
    style = {"fmt": "D", "ms": 5, "capsize": 4, "color": VAL}
    axis.errorbar(positions[drawn], means[drawn, 0], spread, label="mean, 95 % interval", **style)
    axis.set_xticks(
        positions,
        [literal(each) for each in labels],
        rotation=30 if max(map(len, labels)) > 6 else 0,
    )
    axis.set(title=panel.title, xlim=(-0.5, len(labels) - 0.5))
    if panel.percent:
        axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.grid(axis="y", alpha=0.3)


def _plot_reliability(axis, curves: Mapping[str, Curve]) -> None:
    """Mean accuracy against mean confidence of the bins; the area tells how many are in it."""
    shades = np.linspace(0.15, 0.85, len(curves))
    for (label, curve), shade in zip(curves.items(), shades, strict=True):
        number, confidence, right = (np.asarray(part, float) for part in curve)
        filled = number > 0
        x, y = confidence[filled] / number[filled], right[filled] / number[filled]
        (line,) = axis.plot(x, y, lw=1.4, color=_viridis(shade), label=literal(label))
        sizes = 60 * number[filled] / number.sum()
        axis.scatter(x, y, sizes, color=line.get_color(), zorder=3)
    axis.plot([0, 1], [0, 1], "--", color=GREY, lw=1)
    axis.set(title="reliability on the test split", xlabel="confidence", ylabel="accuracy",
             xlim=(0, 1.02), ylim=(0, 1.02))  # fmt: skip
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)


def _viridis(share: float):
    from matplotlib import colormaps

    return colormaps["viridis"](share)
