"""Metrics of training and validation by step and epoch."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxvit.pictures.figure import GREY, TRAIN, VAL, make_figure


class Curve(NamedTuple):
    """One metric to draw.

    Attributes:
      name: without its split: "loss" stands for train/loss and val/loss.
      ylabel: of its axis.
      chance: what guessing scores, drawn as a line.
      limits: of its axis.
      interval: whether val/NAME_low and val/NAME_high bound a band.
    """

    name: str
    ylabel: str = ""
    chance: float | None = None
    limits: tuple[float | None, float | None] = (None, None)
    interval: bool = False


def smoothed(values: Sequence[float], window: int) -> np.ndarray:
    """The mean of the values within half a window of each; shorter at both ends."""
    values = np.asarray(values, float)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low = np.maximum(index - window // 2, 0)
    high = np.minimum(index + window // 2 + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)


def plot_curves(lines: Sequence[Mapping[str, float]], curves: Sequence[Curve], best_step: int):
    """Each metric by step, with an axis of epochs above.

    Training values are drawn faintly, with their running mean over them; the epoch whose weights
    were kept is marked.

    Args:
      lines: of metrics.jsonl.
      curves: what to draw, from left to right; more than four in rows of three.
      best_step: the step of the best validation.
    """
    columns = len(curves) if len(curves) <= 4 else 3
    rows = -(-len(curves) // columns)
    figure, axes = make_figure(rows, columns, 4.4 * columns, 4 * rows)
    validated = [line for line in lines if any(name.startswith("val/") for name in line)]
    for axis in axes.flat[len(curves) :]:
        axis.remove()
    for axis, curve in zip(axes.flat, curves, strict=False):
        train = [line for line in lines if f"train/{curve.name}" in line]
        val = [line for line in validated if f"val/{curve.name}" in line]
        if train:
            steps = [line["step"] for line in train]
            values = [line[f"train/{curve.name}"] for line in train]
            axis.plot(steps, values, color=TRAIN, lw=0.8, alpha=0.35 if val else 1)
            if val:
                mean = smoothed(values, max(3, len(values) // 15))
                axis.plot(steps, mean, color=TRAIN, lw=1.6,
                          label="train (augmented, soft targets),\nrunning mean")  # fmt: skip
        if val:
            _plot_validation(axis, val, curve, best_step)
        if curve.chance is not None:
            axis.axhline(curve.chance, color=GREY, ls=":", label=f"chance {curve.chance:.1%}")
        axis.set(title=curve.name.replace("_", " "), xlabel="step", ylabel=curve.ylabel)
        axis.set_ylim(*curve.limits)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
        if validated:
            _add_epochs(axis, validated)
    return figure


def _plot_validation(axis, val: Sequence[Mapping[str, float]], curve: Curve, best_step: int):
    steps = np.array([line["step"] for line in val])
    values = np.array([line[f"val/{curve.name}"] for line in val])
    axis.plot(steps, values, color=VAL, marker="." if len(val) < 50 else None, label="validation")
    if curve.interval:
        bounds = ([line[f"val/{curve.name}_{end}"] for line in val] for end in ("low", "high"))
        axis.fill_between(steps, *bounds, color=VAL, alpha=0.15, lw=0, label="95 % interval")
    best = steps == best_step
    if best.any():
        epoch = next(line["epoch"] for line in val if line["step"] == best_step)
        ring = {"ms": 8, "mfc": "none", "mec": "black", "mew": 1.4, "clip_on": False}
        axis.plot(steps[best], values[best], "o", label=f"best: epoch {epoch}", **ring)


def _add_epochs(axis, validated: Sequence[Mapping[str, float]]) -> None:
    """A second axis above, with the epochs that end at these steps."""
    steps = np.array([0, *(line["step"] for line in validated)], float)
    epochs = np.array([0, *(line["epoch"] for line in validated)], float)
    keep = np.concatenate([[True], np.diff(steps) > 0])
    steps, epochs = steps[keep], epochs[keep]
    if len(steps) < 2:
        return
    above = axis.secondary_xaxis(
        "top",
        functions=(
            lambda x: _interpolate(x, steps, epochs),
            lambda x: _interpolate(x, epochs, steps),
        ),
    )
    above.xaxis.get_major_locator().set_params(integer=True)
    above.set_xlabel("epoch")


def _interpolate(x, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Linear between the points and, with the mean slope, beyond them."""
    slope = (ys[-1] - ys[0]) / (xs[-1] - xs[0])
    x = np.asarray(x, float)
    inside = np.interp(x, xs, ys)
    return np.where(x < xs[0], ys[0] + slope * (x - xs[0]),
                    np.where(x > xs[-1], ys[-1] + slope * (x - xs[-1]), inside))  # fmt: skip
