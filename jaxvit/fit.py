"""The loop every program shares: batches in, steps out, hooks for what happens around them."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax

from jaxvit.config import UserError
from jaxvit.state import TrainState
from jaxvit.steps import Batch, TrainStep


class Diverged(UserError):
    """The loss is no longer a finite number."""


# Enough to hide a dispatch. On a CPU of several devices 150 small steps in flight take all of XLA's
# threads, each waiting to sum gradients with another that has none left (jax 0.10 and 0.11).
STEPS_AHEAD = 32


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
    """How long training took, in this process.

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
    on_save: Callable[[TrainState], None] = lambda state: None,
    save_every_steps: int = 0,
    should_stop: Callable[[int], bool] = lambda step: False,
) -> tuple[TrainState, Speed]:
    """Trains from the state's step to the plan's last, or until it should stop.

    Steps are handed to the device without waiting for them, up to STEPS_AHEAD, except where metrics
    are read: there the device idles for the time of one dispatch, once in log_every_steps.

    Args:
      state: donated: use the one returned.
      train_step: compiled.
      batches: on the devices; the first belongs to the state's step.
      plan: when to stop, and where epochs end.
      log_every_steps: between calls of on_log; an epoch's last step is logged too.
      on_log: (step, metrics), "train/loss" and the like of that step, and "images_per_sec" since
        the last logged one.
      on_epoch: (step, state) at the end of each epoch, after on_log.
      on_save: (state), where an epoch does not end: every save_every_steps, and before stopping.
      save_every_steps: 0 for only at the ends of epochs, which is on_epoch's affair.
      should_stop: asked after every step, with its number.

    Raises:
      Diverged: a loss was not finite. No hook has seen that step or a later one.
    """
    first = step = logged_step = int(state.step)
    began = logged_at = time.perf_counter()
    compile_sec = timed_sec = 0.0
    timed_steps = 0
    unread: list[jax.Array] = []  # losses on the device, of the steps since the last reading
    for step in range(first + 1, plan.total_steps + 1):
        state, metrics = train_step(state, next(batches))
        unread.append(metrics["loss"])
        if len(unread) > STEPS_AHEAD:
            unread[-STEPS_AHEAD - 1].block_until_ready()
        if step == first + 1:
            jax.block_until_ready(metrics)
            compile_sec = time.perf_counter() - began
            logged_step, logged_at = step, time.perf_counter()
        stops = should_stop(step)
        ends_epoch = plan.ends_epoch(step)
        logs = ends_epoch or step % log_every_steps == 0
        saves = not ends_epoch and (stops or (save_every_steps and step % save_every_steps == 0))
        if logs or saves:
            _check_finite(step, unread, float(metrics["learning_rate"]))
            unread.clear()
        if logs:
            values = {f"train/{name}": float(value) for name, value in metrics.items()}
            steps, sec = step - logged_step, time.perf_counter() - logged_at  # all are done
            timed_steps, timed_sec = timed_steps + steps, timed_sec + sec
            if steps:
                values["images_per_sec"] = steps * plan.batch_size / sec
            on_log(step, values)
            if ends_epoch:
                on_epoch(step, state)
            logged_step, logged_at = step, time.perf_counter()
        if saves:
            paused = time.perf_counter()
            on_save(state)
            logged_at += time.perf_counter() - paused
        if stops:
            break
    rate = timed_steps * plan.batch_size / timed_sec if timed_sec else 0.0
    return state, Speed(compile_sec, rate)


def _check_finite(last_step: int, losses: list[jax.Array], learning_rate: float) -> None:
    for step, loss in enumerate(jax.device_get(losses), last_step - len(losses) + 1):
        if not math.isfinite(loss):
            raise Diverged(
                f"the loss is {loss} at step {step}, at a learning rate near {learning_rate:.3g}: "
                "lower --optim.lr, or set --optim.clip-norm 1; the checkpoints before it are whole"
            )
