"""Learning rates by step."""

import math
from fractions import Fraction

import jax
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
    """The learning rate at each step s, counted from 0.

    With S = total_steps, w = warmup_steps(config, S), P the period (step_every_steps steps, or
    step_every_epochs epochs) and u = s - w, the steps after the warm-up:

      constant         lr
      cosine           lr (1 + cos(pi u / (S - w))) / 2
      cosine_restarts  lr (1 + cos(pi v / L)) / 2, where cycles of L = P, P m, P m^2, ... steps
                       follow each other, m = restart_factor, and v counts u within its cycle
      step             lr gamma^floor(s / P)
      exponential      lr gamma^(s / P)
      multi_step       lr gamma^(number of milestones, in epochs, that are reached)
      one_cycle        from lr / cycle_start to lr over the first w steps, then to
                       lr / (cycle_start cycle_end), both along half a cosine

    In a warm-up of w > 0 steps the rate of step s < w is (s + 1) / w times lr for the first three,
    which begin after it, and times the rate above for the next three, which count from step 0. That
    of one_cycle is its own first part. The epoch of a step is that of its first example. The rate
    of "plateau" is lr here: jaxvit.optim.plateau lowers it. Where swa_lr is given, the rate changes
    to it as soon as stochastic weight averaging begins: see _with_swa.

    Args:
      config: lr, schedule and its numbers, and warmup or warmup_steps.
      total_steps: S, at least 1.
      steps_per_epoch: examples over batch size, which need not be whole.

    Raises:
      ValueError: epochs are asked for without steps_per_epoch.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983; Smith and Topin 2019, arXiv:1708.07120.
    Without warm-up they are torch.optim.lr_scheduler's CosineAnnealingLR,
    CosineAnnealingWarmRestarts, StepLR, ExponentialLR, MultiStepLR and OneCycleLR (with
    cycle_momentum=False, and pct_start = warmup).

    Example:
      >>> config = OptimConfig(lr=1.0, schedule="step", gamma=0.5, step_every_epochs=2)
      >>> schedule = make_schedule(config, total_steps=12, steps_per_epoch=Fraction(3, 2))
      >>> [float(schedule(step)) for step in range(8)]
      [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25]
    """
    schedule = _without_swa(config, total_steps, steps_per_epoch)
    if config.swa_lr is None:
        return schedule
    if steps_per_epoch is None:
        raise ValueError("epochs need steps_per_epoch")
    return _with_swa(schedule, config, total_steps, steps_per_epoch)


def _without_swa(
    config: OptimConfig, total_steps: int, steps_per_epoch: Fraction | None
) -> optax.Schedule:
    warmup = warmup_steps(config, total_steps)
    after = max(1, total_steps - warmup)
    match config.schedule:
        case "constant" | "plateau":
            main = optax.constant_schedule(config.lr)
        case "cosine":
            main = optax.cosine_decay_schedule(config.lr, after)
        case "cosine_restarts":
            main = _restarts(config, after, _period(config, steps_per_epoch))
        case "one_cycle":
            return _one_cycle(config, total_steps, warmup)
        case "multi_step":
            drops = [_steps(epochs, steps_per_epoch) for epochs in sorted(config.milestones)]
            return _warmed_up(_drops(config, drops), warmup)
        case "step":
            period = _period(config, steps_per_epoch)
            drops = [k * period for k in range(1, math.floor(total_steps / period) + 1)]
            return _warmed_up(_drops(config, drops), warmup)
        case "exponential":
            return _warmed_up(
                _exponential(config, total_steps, _period(config, steps_per_epoch)), warmup
            )
    if warmup == 0:
        return main
    # Warm-up starts one increment above 0: at rate 0 the first step would change nothing.
    first = config.lr / warmup
    rise = optax.linear_schedule(first, config.lr, max(1, warmup - 1))
    return optax.join_schedules([rise, main], [warmup])


def first_swa_epoch(config: OptimConfig, epochs: int) -> int:
    """The number of epochs before stochastic weight averaging: floor(swa_start epochs)."""
    return math.floor(config.swa_start * epochs + 1e-9)  # .29 times 100 is less than 29


def _with_swa(
    schedule: optax.Schedule, config: OptimConfig, total_steps: int, steps_per_epoch: Fraction
) -> optax.Schedule:
    """The schedule until averaging begins, then towards swa_lr, as torch.optim.swa_utils.SWALR.

    In the k-th epoch of averaging, k from 0, a = (1 - cos(pi min(1, k / A))) / 2 with A =
    swa_anneal_epochs (a = 1 for A = 0), and the rate is (1 - a) r + a swa_lr, where r is the
    schedule's at the first step of averaging.
    """
    epochs = math.floor(total_steps / steps_per_epoch)
    first = first_swa_epoch(config, epochs)
    starts = [epoch * steps_per_epoch for epoch in range(first, epochs)]
    length = config.swa_anneal_epochs
    shares = [min(1.0, k / length) if length else 1.0 for k in range(len(starts))]
    alphas = np.array([math.sin(math.pi / 2 * share) ** 2 for share in shares], np.float32)
    begin = math.ceil(starts[0])

    def with_swa(step):
        alpha = jnp.asarray(alphas)[jnp.maximum(0, _index(starts, step) - 1)]
        towards = (1 - alpha) * schedule(jnp.int32(begin)) + alpha * config.swa_lr
        return jnp.where(step < begin, schedule(step), towards)

    return with_swa


def _steps(epochs: int, steps_per_epoch: Fraction | None) -> Fraction:
    if steps_per_epoch is None:
        raise ValueError("epochs need steps_per_epoch")
    return epochs * steps_per_epoch


def _period(config: OptimConfig, steps_per_epoch: Fraction | None) -> Fraction:
    if config.step_every_steps is not None:
        return Fraction(config.step_every_steps)
    return _steps(config.step_every_epochs, steps_per_epoch)


def _warmed_up(schedule: optax.Schedule, warmup: int) -> optax.Schedule:
    if warmup == 0:
        return schedule
    return lambda step: schedule(step) * jnp.minimum(1, (step + 1) / warmup)


def _index(starts: list[Fraction], step) -> jax.Array:
    """How many of these ascending points are at or before a step; exact."""
    first_steps = np.array([math.ceil(start) for start in starts], np.int32)
    return jnp.searchsorted(jnp.asarray(first_steps), step, side="right")


def _drops(config: OptimConfig, drops: list[Fraction]) -> optax.Schedule:
    # The rates are exact before they are rounded once: gamma^k in float32 would be off by k
    # roundings.
    rates = np.array([config.lr * config.gamma**k for k in range(len(drops) + 1)], np.float32)
    return lambda step: jnp.asarray(rates)[_index(drops, step)]


def _exponential(config: OptimConfig, total_steps: int, period: Fraction) -> optax.Schedule:
    starts = [k * period for k in range(1, math.floor(total_steps / period) + 1)]
    of_period = _drops(config, starts)

    def schedule(step):
        # Whole periods from the table, the rest as a power: a large exponent would lose digits.
        passed = (step - _index(starts, step) * float(period)) / float(period)
        return of_period(step) * jnp.exp(passed * math.log(config.gamma))

    return schedule


def _restarts(config: OptimConfig, steps: int, period: Fraction) -> optax.Schedule:
    starts, lengths = [Fraction(0)], [period]
    while starts[-1] + lengths[-1] <= steps:
        starts.append(starts[-1] + lengths[-1])
        lengths.append(lengths[-1] * config.restart_factor)
    # A cycle begins within a step: at most one step before the first that it holds.
    first_steps = np.array([math.ceil(start) for start in starts], np.int32)
    before = np.array([math.ceil(start) - start for start in starts], np.float32)
    cycle_lengths = np.array(lengths, np.float32)

    def schedule(step):
        cycle = _index(starts[1:], step)
        first, early, length = (
            jnp.asarray(table)[cycle] for table in (first_steps, before, cycle_lengths)
        )
        passed = (step - first).astype(jnp.float32) + early
        return config.lr * _half_cosine((length - passed) / length)

    return schedule


def _one_cycle(config: OptimConfig, total_steps: int, warmup: int) -> optax.Schedule:
    low = config.lr / config.cycle_start
    end = low / config.cycle_end
    # As in OneCycleLR the peak is at step warmup - 1, and the end at the last step.
    peak, last = max(1, warmup - 1), max(2, total_steps - 1)

    def schedule(step):
        rising = low + (config.lr - low) * _half_cosine(step / peak)
        left = jnp.maximum(last - step, 0) / (last - peak)
        return jnp.where(step <= peak, rising, end + (config.lr - end) * _half_cosine(left))

    return schedule


def _half_cosine(share) -> jax.Array:
    """(1 - cos(pi share)) / 2, from 0 to 1, without the cancellation near 0."""
    return jnp.sin(jnp.pi / 2 * share) ** 2
