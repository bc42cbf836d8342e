"""Lines and points for charts that a page draws as SVG."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 12, 34
# What the template needs of it.
FRAME = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT}
MOST_POINTS = 200  # of a line that is drawn
SIGNED = ("uniformity", "kernel_distance")  # metrics whose axis does not begin at 0


class Series(NamedTuple):
    """One line.

    Attributes:
      name: for the legend, and the class that gives its colour: "train", "validation" or "grey".
      points: (x, y), finite.
      marked: whether each point is shown.
    """

    name: str
    points: Sequence[tuple[float, float]]
    marked: bool = False


class Point(NamedTuple):
    """A place in the drawing, with what is said on hovering."""

    x: float
    y: float
    text: str


class Line(NamedTuple):
    name: str
    path: str
    points: tuple[Point, ...]
    marked: bool


class Tick(NamedTuple):
    at: float
    text: str


class Chart(NamedTuple):
    """What the template draws, in units of the drawing.

    Attributes:
      title, xlabel: of the chart.
      lines: of its series.
      xticks, yticks: of its axes.
    """

    title: str
    xlabel: str
    lines: tuple[Line, ...]
    xticks: tuple[Tick, ...]
    yticks: tuple[Tick, ...]


def make_chart(
    title: str,
    xlabel: str,
    series: Sequence[Series],
    limits: tuple[float | None, float | None] = (None, None),
) -> Chart | None:
    """The chart of these lines; None where no line has a point.

    Args:
      title, xlabel: see Chart.
      series: lines over one another.
      limits: of the vertical axis; None follows the points.
    """
    drawn = [each._replace(points=_finite(each.points)) for each in series]
    drawn = [each for each in drawn if each.points]
    if not drawn:
        return None
    xs = [x for each in drawn for x, _ in each.points]
    ys = [y for each in drawn for _, y in each.points]
    low, high = (
        own if limit is None else limit
        for own, limit in zip((min(ys), max(ys)), limits, strict=True)
    )
    horizontal = _Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    vertical = _Axis(low, high, HEIGHT - BOTTOM, TOP)
    lines = []
    for each in drawn:
        points = tuple(
            Point(horizontal(x), vertical(y), f"{each.name}: {y:.4g} at {xlabel} {x:g}")
            for x, y in _thinned(each.points)
        )
        path = " ".join(f"{point.x:.1f},{point.y:.1f}" for point in points)
        lines.append(Line(each.name, path, points, each.marked))
    return Chart(title, xlabel, tuple(lines), horizontal.ticks(), vertical.ticks())


def metric_charts(
    lines: Sequence[Mapping[str, float]],
    names: Sequence[str] = ("loss", "accuracy", "learning_rate"),
) -> list[Chart]:
    """These metrics of training and validation by step, of metrics.jsonl."""
    charts = []
    for name in names:
        limits = (None, None) if name in SIGNED else (0, 1 if name.endswith("accuracy") else None)
        series = [
            Series(
                split,
                [(each["step"], each[key]) for each in lines if key in each],
                marked=split == "validation",
            )
            for split, key in (("train", f"train/{name}"), ("validation", f"val/{name}"))
        ]
        charts.append(make_chart(name.replace("_", " "), "step", series, limits))
    return [chart for chart in charts if chart]


class _Axis:
    """From values to places, with round ticks."""

    def __init__(self, low: float, high: float, start: float, end: float):
        if high <= low:
            low, high = low - 0.5, high + 0.5
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + min(max(share, 0), 1) * (self.end - self.start), 1)

    def ticks(self, number: int = 4) -> tuple[Tick, ...]:
        raw = (self.high - self.low) / number
        size = 10.0 ** math.floor(math.log10(raw))
        step = next(size * each for each in (1, 2, 2.5, 5, 10) if size * each >= raw)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        values = [each * step for each in range(first, last + 1)]
        return tuple(Tick(self(each), f"{each:.6g}") for each in values)


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST_POINTS of them, evenly, the last one included."""
    every = -(-len(points) // MOST_POINTS)
    return list(points[::-1][::every][::-1])
