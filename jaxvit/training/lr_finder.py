"""The learning-rate range test: one short run of rising rates, and the rate to begin with."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jaxvit.training.state import TrainState
from jaxvit.training.steps import TrainStep
from jaxvit.training.task import Batch

LOW, HIGH, STEPS = 1e-8, 1.0, 100
BETA = 0.98  # of the running mean of the losses
DIVERGED = 4.0  # times the lowest smoothed loss
SKIP_BEGIN, SKIP_END = 10, 1  # points that are not suggested


class Finding(NamedTuple):
    """What was tried.

    Attributes:
      rates: the learning rate of each step.
      losses: the smoothed loss of each step, before its update.
      suggestion: the rate at which the loss falls most for each unit of the rate, as Lightning
        suggests it; None where too few steps were taken.
      by_decade: the rate at which it falls most for each factor of 10, which noise at the lowest
        rates moves less; None as above.
      diverged: whether the run ended before its last step.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float | None
    by_decade: float | None
    diverged: bool


def rate_of(step: int) -> float:
    """low (high / low)^((s + 1) / S) at step s, counted from 0; it reaches high at the last."""
    return LOW * (HIGH / LOW) ** ((step + 1) / STEPS)


class Smoother:
    """The running mean of losses, as Lightning's finder has it.

    m_s = b m_{s-1} + (1 - b) loss_s, from 0; the smoothed loss is m_s / (1 - b^(s + 1)) for s
    counted from 1. (The bias would be corrected by b^s: kept, so that the suggestions are equal.)
    """

    def __init__(self):
        self._mean, self._best, self._step = 0.0, math.inf, 0

    def add(self, loss: float) -> tuple[float, bool]:
        """The smoothed loss, and whether it is more than DIVERGED times the lowest before it."""
        self._step += 1
        self._mean = BETA * self._mean + (1 - BETA) * loss
        smoothed = self._mean / (1 - BETA ** (self._step + 1))
        diverged = self._step > 1 and not smoothed <= DIVERGED * self._best
        self._best = min(self._best, smoothed)
        return smoothed, diverged


def suggest(rates: Sequence[float], losses: Sequence[float], by_decade: bool) -> float | None:
    """The rate at which the loss falls most steeply, by second-order differences.

    Args:
      rates: ascending.
      by_decade: whether d loss / d log rate is lowest there, and not d loss / d rate.
      losses: smoothed; those that are not finite do not count, nor do the first SKIP_BEGIN and the
        last SKIP_END.

    Returns:
      A rate, or None where fewer than two points are left.

    Source: Smith 2017, arXiv:1506.01186, for the test; Lightning's lr_find for the choice.
    """
    kept = slice(SKIP_BEGIN, -SKIP_END)
    rates, losses = np.asarray(rates[kept], float), np.asarray(losses[kept], float)
    finite = np.isfinite(losses)
    rates, losses = rates[finite], losses[finite]
    if len(rates) < 2:
        return None
    slopes = np.gradient(losses, np.log10(rates) if by_decade else rates)
    return float(rates[np.argmin(slopes)])


def find_rate(
    state: TrainState,
    train_step: TrainStep,
    batches: Iterator[Batch],
    show: Callable[[int], None] = lambda step: None,
) -> Finding:
    """Takes up to STEPS steps, each at the next rate, until the loss diverges.

    Args:
      state: at step 0; donated.
      train_step: compiled, of a task whose rate at each step is rate_of(step).
      batches: on the devices.
      show: told of each step that was taken.
    """
    smoother, losses = Smoother(), []
    for step in range(STEPS):
        state, metrics = train_step(state, next(batches))
        smoothed, diverged = smoother.add(float(metrics["loss"]))
        losses.append(smoothed)
        show(step + 1)
        if diverged:
            break
    rates = tuple(rate_of(step) for step in range(len(losses)))
    suggestions = (suggest(rates, losses, by_decade) for by_decade in (False, True))
    return Finding(rates, tuple(losses), *suggestions, diverged)
