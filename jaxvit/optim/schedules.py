"""Learning rates by step."""

import math
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import optax

from jaxvit.config import OptimConfig


def warmup_steps(config: OptimConfig, total_steps: int) -> int:
    """Steps of the warm-up: config.warmup_steps, or else the share config.warmup of all steps."""
    if config.warmup_steps is not None:
        return config.warmup_steps
    return round(config.warmup * total_steps)


def make_schedule(
    config: OptimConfig, total_steps: int, steps_per_epoch: Fraction | None = None
) -> optax.Schedule:
    """The learning rate at each step.

    Linear from 0 to lr over w = warmup_steps(config, total_steps) steps, so that step s of the
    warm-up, counted from 0, uses lr (s + 1) / w. Then constant lr, or lr (1 + cos(pi t)) / 2 with t
    rising from 0 to 1 over the remaining steps. The schedule "step" is lr gamma^k from the start,
    warm-up included, after k periods of step_every_steps steps or of step_every_epochs epochs: the
    epoch of a step is that of its first example.

    Args:
      config: lr, schedule and its numbers, and warmup or warmup_steps.
      total_steps: steps of the whole run, at least 1.
      steps_per_epoch: examples over batch size, which need not be whole.

    Raises:
      ValueError: step_every_epochs is given without steps_per_epoch.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983 (without restarts). "step" without warm-up:
    torch.optim.lr_scheduler.StepLR.

    Example:
      >>> config = OptimConfig(lr=1.0, schedule="step", gamma=0.5, step_every_epochs=2)
      >>> schedule = make_schedule(config, total_steps=12, steps_per_epoch=Fraction(3, 2))
      >>> [float(schedule(step)) for step in range(8)]
      [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25]
    """
    steps = warmup_steps(config, total_steps)
    if config.schedule == "step":
        return _step_schedule(config, total_steps, steps, steps_per_epoch)
    if config.schedule == "cosine":
        main = optax.cosine_decay_schedule(config.lr, max(1, total_steps - steps))
    else:
        main = optax.constant_schedule(config.lr)
    if steps == 0:
        return main
    # Warm-up starts one increment above 0: at rate 0 the first step would change nothing.
    first = config.lr / steps
    warmup = optax.linear_schedule(first, config.lr, max(1, steps - 1))
    return optax.join_schedules([warmup, main], [steps])


def _step_schedule(
    config: OptimConfig, total_steps: int, warmup: int, steps_per_epoch: Fraction | None
) -> optax.Schedule:
    if config.step_every_steps is not None:
        period = Fraction(config.step_every_steps)
    elif steps_per_epoch is None:
        raise ValueError("step_every_epochs needs steps_per_epoch")
    else:
        period = config.step_every_epochs * steps_per_epoch
    drops = math.floor(total_steps / period)
    # The first step of each period, and the rates, both exact before they are rounded once: gamma^k
    # in float32 would be off by k roundings.
    starts = np.array([math.ceil(k * period) for k in range(1, drops + 1)], np.int32)
    rates = np.array([config.lr * config.gamma**k for k in range(drops + 1)], np.float32)

    def schedule(step):
        rate = jnp.asarray(rates)[jnp.searchsorted(jnp.asarray(starts), step, side="right")]
        return rate * jnp.minimum(1, (step + 1) / warmup) if warmup else rate

    return schedule
