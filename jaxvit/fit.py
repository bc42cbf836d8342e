"""The loop every program shares: batches in, steps out, hooks for what happens around them."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax

from jaxvit.state import TrainState
from jaxvit.steps import Batch, TrainStep


@dataclass(frozen=True)
class Plan:
    """How many steps a run takes, and where its epochs end.

    Examples flow without a break, so epoch e of n examples ends with step ceil(e n / B).
    """

    examples: int
    batch_size: int
    epochs: int

    @property
    def total_steps(self) -> int:
        return self.end_of(self.epochs)

    def end_of(self, epoch: int) -> int:
        """The number of steps after which `epoch` is complete; epochs count from 1."""
        return -(-epoch * self.examples // self.batch_size)

    def epoch_of(self, step: int) -> int:
        """The epoch of the step's first example; steps count from 1."""
        return (step - 1) * self.batch_size // self.examples + 1

    def ends_epoch(self, step: int) -> bool:
        return step == self.end_of(self.epoch_of(step))


@dataclass(frozen=True)
class Speed:
    """How long training took.

    Attributes:
      compile_sec: until the first step was done, which is mostly compilation.
      images_per_sec: over all later steps, without the time spent in on_log and on_epoch.
    """

    compile_sec: float
    images_per_sec: float


def fit(
    state: TrainState,
    train_step: TrainStep,
    batches: Iterator[Batch],
    plan: Plan,
    *,
    log_every_steps: int,
    on_log: Callable[[int, dict[str, float]], None],
    on_epoch: Callable[[int, TrainState], None],
) -> tuple[TrainState, Speed]:
    """Trains from the state's step to the plan's last.

    Steps are handed to the device without waiting for them, except where metrics are read: there
    the device idles for the time of one dispatch, once in log_every_steps.

    Args:
      state: donated: use the one returned.
      train_step: compiled.
      batches: on the devices; the first belongs to the state's step.
      plan: when to stop, and where epochs end.
      log_every_steps: between calls of on_log; an epoch's last step is logged too.
      on_log: (step, metrics), "train/loss" and the like of that step, and "images_per_sec" since
        the last logged one.
      on_epoch: (step, state) at the end of each epoch, after on_log.
    """
    first = logged_step = int(state.step)
    began = logged_at = time.perf_counter()
    compile_sec = timed_sec = 0.0
    for step in range(first + 1, plan.total_steps + 1):
        state, metrics = train_step(state, next(batches))
        ends_epoch = plan.ends_epoch(step)
        if step == first + 1:
            jax.block_until_ready(metrics)
            compile_sec = time.perf_counter() - began
            logged_step, logged_at = step, time.perf_counter()
        if step % log_every_steps == 0 or ends_epoch:
            values = {f"train/{name}": float(value) for name, value in metrics.items()}
            sec = time.perf_counter() - logged_at  # every step so far is done
            timed_sec += sec
            if step > logged_step:
                values["images_per_sec"] = (step - logged_step) * plan.batch_size / sec
            on_log(step, values)
            if ends_epoch:
                on_epoch(step, state)
            logged_step, logged_at = step, time.perf_counter()
    timed_steps = max(0, plan.total_steps - first - 1)
    return state, Speed(
        compile_sec, timed_steps * plan.batch_size / timed_sec if timed_sec else 0.0
    )
