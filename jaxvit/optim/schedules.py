"""Learning rates by step."""

import optax

from jaxvit.config import OptimConfig


def warmup_steps(config: OptimConfig, total_steps: int) -> int:
    """Steps of the warm-up: config.warmup_steps, or else the share config.warmup of all steps."""
    if config.warmup_steps is not None:
        return config.warmup_steps
    return round(config.warmup * total_steps)


def make_schedule(config: OptimConfig, total_steps: int) -> optax.Schedule:
    """The learning rate at each step.

    Linear from 0 to lr over w = warmup_steps(config, total_steps) steps, so that step s of the
    warm-up, counted from 0, uses lr (s + 1) / w. Then constant lr, or lr (1 + cos(pi t)) / 2 with t
    rising from 0 to 1 over the remaining steps.

    Args:
      config: lr, schedule, and warmup or warmup_steps.
      total_steps: steps of the whole run, at least 1.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983 (without restarts).
    """
    steps = warmup_steps(config, total_steps)
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
