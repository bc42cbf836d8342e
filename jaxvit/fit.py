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
      images_per_sec: over all later steps, without the time spent in hooks.
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

    Steps are handed to the device without waiting for them. The metrics of a logged step are read
    one logged step later, when they are long since done, so the device never idles for the log.

    Args:
      state: donated: use the one returned.
      train_step: compiled.
      batches: on the devices; the first belongs to the state's step.
      plan: when to stop, and where epochs end.
      log_every_steps: between calls of on_log.
      on_log: (step, metrics); metrics of the last such step, "train/loss" and the like, and
        "images_per_sec" since the one before.
      on_epoch: (step, state) at the end of each epoch, with all steps so far logged.
    """
    first = start = int(state.step)
    began = time.perf_counter()
    compile_sec = 0.0
    waiting: tuple[int, dict[str, jax.Array]] | None = None
    logged_step, logged_at = first, began  # where the current stretch of timed steps began
    timed_steps, timed_sec = 0, 0.0

    def log_waiting() -> None:
        nonlocal waiting, logged_step, logged_at, timed_steps, timed_sec
        if waiting is None:
            return
        step, metrics = waiting
        waiting = None
        values = {f"train/{name}": float(value) for name, value in metrics.items()}
        now = time.perf_counter()
        steps, sec = step - logged_step, now - logged_at
        logged_step, logged_at = step, now
        timed_steps, timed_sec = timed_steps + steps, timed_sec + sec
        on_log(step, values | {"images_per_sec": steps * plan.batch_size / max(sec, 1e-9)})

    for step in range(start + 1, plan.total_steps + 1):
        state, metrics = train_step(state, next(batches))
        if step == start + 1:
            jax.block_until_ready(metrics)
            compile_sec = time.perf_counter() - began
            logged_step, logged_at = step, time.perf_counter()
        ends_epoch = plan.ends_epoch(step)
        if step % log_every_steps == 0 or ends_epoch:
            log_waiting()
            waiting = step, metrics
        if ends_epoch:
            log_waiting()
            on_epoch(step, state)
            logged_at = time.perf_counter()
    images_per_sec = timed_steps * plan.batch_size / timed_sec if timed_sec else 0.0
    return state, Speed(compile_sec, images_per_sec)
