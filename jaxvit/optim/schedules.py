"""Learning rates by step."""

import optax

from jaxvit.config import OptimConfig


def make_schedule(config: OptimConfig, total_steps: int) -> optax.Schedule:
    """The learning rate at each step.

    Linear from 0 to lr over warmup_steps, so that step s of the warm-up uses
    lr (s + 1) / warmup_steps; then constant, or lr (1 + cos(pi t)) / 2 with t rising from 0 to 1
    over the steps that are left.

    Args:
      config: lr, schedule and warmup_steps.
      total_steps: steps of the whole run, at least 1.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983 (without restarts).
    """
    if config.schedule == "cosine":
        main = optax.cosine_decay_schedule(config.lr, max(1, total_steps - config.warmup_steps))
    else:
        main = optax.constant_schedule(config.lr)
    if config.warmup_steps == 0:
        return main
    # Warm-up starts one increment above 0, for a first step that moves nothing is a step wasted.
    first = config.lr / config.warmup_steps
    warmup = optax.linear_schedule(first, config.lr, max(1, config.warmup_steps - 1))
    return optax.join_schedules([warmup, main], [config.warmup_steps])
