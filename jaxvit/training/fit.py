"""The training loop: batches in, steps out, hooks for logging, validation and saving."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvit.config import OptimConfig
from jaxvit.errors import Diverged, UserError
from jaxvit.optim.averaging import swa_decay
from jaxvit.optim.joining import plan_joining
from jaxvit.optim.schedules import first_swa_epoch
from jaxvit.training.state import TrainState
from jaxvit.training.steps import TrainStep
from jaxvit.training.task import Batch, Metrics

# Enough to hide a dispatch. On a CPU of several devices many small steps in flight take all of
# XLA's threads, each waiting to sum gradients with another that has none left: with 32 in flight 3
# of 4 runs on a loaded machine hung, with 16 or fewer none of 7 (jax 0.10.2).
STEPS_AHEAD = 8


@dataclass(frozen=True)
class Plan:
    """How many steps a run takes, where its epochs end, and after which it is validated.

    Examples flow without a break, so epoch e of n examples ends with step ceil(e n / B).
    """

    examples: int
    batch_size: int
    epochs: int
    val_every_epochs: int = 1

    @property
    def total_steps(self) -> int:
        return self.end_of(self.epochs)

    def end_of(self, epoch: int) -> int:
        """The number of steps after which `epoch` is complete; epochs count from 1."""
        return -(-epoch * self.examples // self.batch_size)

    def epoch_of(self, step: int) -> int:
        """The epoch of the step's first example; steps count from 1."""
        return (step - 1) * self.batch_size // self.examples + 1

    def validates(self, step: int) -> bool:
        """Whether a val_every_epochs-th epoch, or the last, ends with the step."""
        before, after = (
            steps * self.batch_size // self.examples // self.val_every_epochs
            for steps in (step - 1, step)
        )
        return after > before or step == self.total_steps


def averages_epochs(optim: OptimConfig, plan: Plan, step: int) -> bool:
    """Whether the average after a step is one of stochastic weight averaging."""
    return optim.swa_start > 0 and step > plan.end_of(first_swa_epoch(optim, plan.epochs))


def average_decay(optim: OptimConfig, plan: Plan) -> float | optax.Schedule:
    """The decay of the running average of a planned run: see make_train_step and swa_decay.

    Where batches are joined, steps without an update leave the average as it is.

    Raises:
      UserError: stochastic weight averaging, and a batch of more than an epoch.
    """
    if optim.swa_start:
        if plan.batch_size > plan.examples:
            raise UserError(
                f"--optim.swa-start {optim.swa_start:g} averages the weights of different epochs, "
                f"and --batch-size {plan.batch_size} puts several into one step: give at most "
                f"{plan.examples}"
            )
        first = first_swa_epoch(optim, plan.epochs)
        ends = [plan.end_of(epoch) for epoch in range(first + 1, plan.epochs + 1)]
        return swa_decay(ends, plan.end_of(first))
    if not (optim.ema_decay and optim.accumulate_grad_batches):
        return optim.ema_decay
    updates = _updates(optim, plan)
    return lambda step: jnp.where(jnp.asarray(updates)[step], optim.ema_decay, 1.0)


def initial_share(optim: OptimConfig, plan: Plan) -> tuple[float, int]:
    """The share of the initial weights in the running average after U updates, d^U; and U."""
    joins = optim.accumulate_grad_batches
    updates = int(_updates(optim, plan).sum()) if joins else plan.total_steps
    return optim.ema_decay**updates, updates


def _updates(optim: OptimConfig, plan: Plan) -> np.ndarray:
    """Whether each step changes the weights, where batches are joined."""
    per_epoch = Fraction(plan.examples, plan.batch_size)
    return plan_joining(optim.joined_batches, plan.total_steps, per_epoch).updates


def fit(
    state: TrainState,
    train_step: TrainStep,
    batches: Iterator[Batch],
    plan: Plan,
    *,
    log_every_steps: int,
    on_log: Callable[[int, dict[str, float]], None],
    on_epoch: Callable[[int, TrainState], TrainState],
    on_save: Callable[[TrainState], None] = lambda state: None,
    save_every_steps: int = 0,
    should_stop: Callable[[int], bool] = lambda step: False,
    ended: Callable[[], bool] = lambda: False,
) -> tuple[TrainState, float]:
    """Trains from the state's step to the plan's last, or until it should stop or has ended.

    Steps are handed to the device without waiting for them, up to STEPS_AHEAD, except where metrics
    are read: there the device idles for the time of one dispatch, once in log_every_steps.

    Args:
      state: donated: use the one returned.
      train_step: compiled.
      batches: on the devices; the first belongs to the state's step.
      plan: when to stop, and when to validate.
      log_every_steps: between calls of on_log; a step that is validated is logged too.
      on_log: (step, metrics), "train/loss" and the like of that step, and "images_per_sec" since
        the last logged one, without the time spent in hooks or in compiling.
      on_epoch: (step, state) at the end of each epoch that is validated, after on_log; gives the
        state to continue with.
      on_save: (state), after steps that are not validated: every save_every_steps, and before
        stopping.
      save_every_steps: 0 disables mid-epoch saves.
      should_stop: asked after every step, with its number.
      ended: asked before every step: whether the run is over before the plan's last step.

    Returns:
      The state, and the seconds until the first step was done, which are mostly compilation.

    Raises:
      Diverged: a loss was not finite. No hook has seen that step or a later one.
    """
    first = logged_step = int(state.step)
    began = logged_at = time.perf_counter()
    compile_sec = 0.0
    unread: list[Metrics] = []  # losses on the device, of the steps since the last reading
    for step in range(first + 1, plan.total_steps + 1):
        if ended():
            break
        state, metrics = train_step(state, next(batches))
        unread.append({name: x for name, x in metrics.items() if name.startswith("loss")})
        if len(unread) > STEPS_AHEAD:
            jax.block_until_ready(unread[-STEPS_AHEAD - 1])
        if step == first + 1:
            jax.block_until_ready(metrics)
            compile_sec = time.perf_counter() - began
            logged_step, logged_at = step, time.perf_counter()
        stops = should_stop(step)
        validates = plan.validates(step)
        logs = validates or step % log_every_steps == 0
        saves = not validates and (stops or (save_every_steps and step % save_every_steps == 0))
        if logs or saves:
            _check_finite(step, unread, metrics)
            unread.clear()
        if logs:
            values = {f"train/{name}": float(value) for name, value in metrics.items()}
            steps, sec = step - logged_step, time.perf_counter() - logged_at  # all are done
            if steps:
                values["images_per_sec"] = steps * plan.batch_size / sec
            on_log(step, values)
            if validates:
                state = on_epoch(step, state)
            logged_step, logged_at = step, time.perf_counter()
        if saves:
            paused = time.perf_counter()
            on_save(state)
            logged_at += time.perf_counter() - paused
        if stops:
            break
    return state, compile_sec


def _check_finite(last_step: int, losses: list[Metrics], metrics: Metrics) -> None:
    rates = [float(x) for name, x in metrics.items() if name.startswith("learning_rate")]
    for step, values in enumerate(jax.device_get(losses), last_step - len(losses) + 1):
        for name, value in values.items():
            if not math.isfinite(value):
                raise Diverged(
                    f"the {name} is {value} at step {step} (learning rate near {max(rates):.3g})"
                )
