"""Denoising diffusion: the schedule of noise, the training loss, and the steps of two samplers.

t counts from 0 to T - 1. abar_t is the product of 1 - beta up to and with t: x_t has the share
abar_t of the image's variance and 1 - abar_t of noise. All coefficients are computed in float64 on
the host and rounded once: in float32, 1 - abar_0 = 1e-4 is off by up to 6e-4 of itself.

Source: Ho et al. 2020, arXiv:2006.11239, whose t counts from 1. Torch twin:
torch_ref/survey/diffusion.py.
"""

from typing import Literal, NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from jaxvit.shapes import Array, Float, Int

Name = Literal["linear", "cosine"]
Variance = Literal["small", "large"]


class Schedule(NamedTuple):
    """Of each t, float32.

    Attributes:
      signal: sqrt(abar_t), the weight of the image in x_t.
      noise: sqrt(1 - abar_t), the weight of the noise.
      posterior_x0, posterior_xt: weights of x_0 and x_t in the mean of q(x_{t-1} | x_t, x_0).
      small, large: standard deviations of a step back: of that distribution, sqrt(beta_t
        (1 - abar_{t-1}) / (1 - abar_t)), which is 0 at t = 0; and sqrt(beta_t).
    """

    signal: Float[Array, "T"]
    noise: Float[Array, "T"]
    posterior_x0: Float[Array, "T"]
    posterior_xt: Float[Array, "T"]
    small: Float[Array, "T"]
    large: Float[Array, "T"]


class Jumps(NamedTuple):
    """Of each jump of a DDIM sampler from one time to an earlier one, float32 but for the times.

    Attributes:
      times: int32 (S,), falling: where each jump begins; the last one ends with the image.
      x0, eps, noise: weights of x_0, of the predicted noise, and of new noise.
    """

    times: Int[Array, "S"]
    x0: Float[Array, "S"]
    eps: Float[Array, "S"]
    noise: Float[Array, "S"]


def betas(name: Name, steps: int) -> np.ndarray:
    """float64 (T,): the variance that each step adds, at most .999.

    linear: from 1e-4 to .02, both times 1000 / T, so that fewer steps end as noisy. cosine: so that
    abar_t = cos^2((t / T + .008) / 1.008 pi / 2), over its value at 0.

    Args:
      name: of the schedule.
      steps: T, at least 1.

    Source: Ho et al. 2020, section 4; Nichol and Dhariwal 2021, arXiv:2102.09672, eq. 17.
    """
    if name == "linear":
        scale = 1000 / steps
        found = np.linspace(1e-4 * scale, 0.02 * scale, steps, dtype=np.float64)
    else:
        bar = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
        found = 1 - bar[1:] / bar[:-1]
    return np.minimum(found, 0.999)


def make_schedule(name: Name, steps: int) -> Schedule:
    """The coefficients of a schedule; see betas."""
    beta = betas(name, steps)
    bar = np.cumprod(1 - beta)
    before = np.concatenate([[1.0], bar[:-1]])
    return Schedule(
        *(
            jnp.asarray(numbers, jnp.float32)
            for numbers in (
                np.sqrt(bar),
                np.sqrt(1 - bar),
                np.sqrt(before) * beta / (1 - bar),
                np.sqrt(1 - beta) * (1 - before) / (1 - bar),
                np.sqrt(beta * (1 - before) / (1 - bar)),
                np.sqrt(beta),
            )
        )
    )


def make_jumps(name: Name, steps: int, number: int, eta: float = 0.0) -> Jumps:
    """The jumps of a DDIM sampler through `number` evenly spaced times, the last of them 0.

    With a = abar of where a jump begins and b of where it ends, 1 for the image,
    noise = eta sqrt((1 - b) / (1 - a) (1 - a / b)), x0 = sqrt(b), eps = sqrt(1 - b - noise^2).

    Args:
      name, steps: of the schedule.
      number: S, in [1, T].
      eta: in [0, 1]; 0 draws nothing, and 1 is the ancestral sampler of these times.

    Source: Song et al. 2021, arXiv:2010.02502, eq. 12 and 16; the times are its "linear" ones
    where S divides T.
    """
    times = (np.arange(number) * steps // number)[::-1]
    bar = np.cumprod(1 - betas(name, steps))[times]
    after = np.concatenate([bar[1:], [1.0]])
    noise = eta * np.sqrt((1 - after) / (1 - bar) * (1 - bar / after))
    return Jumps(
        jnp.asarray(times, jnp.int32),
        *(
            jnp.asarray(numbers, jnp.float32)
            for numbers in (np.sqrt(after), np.sqrt(1 - after - noise**2), noise)
        ),
    )


def q_sample(
    schedule: Schedule,
    x0: Float[Array, "B H W C"],
    t: Int[Array, "B"],
    noise: Float[Array, "B H W C"],
) -> Float[Array, "B H W C"]:
    """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise.

    Args:
      schedule: see make_schedule.
      x0: images, in [-1, 1].
      t: of each image.
      noise: standard normal.
    """
    chex.assert_equal_shape((x0, noise))
    return _of(schedule.signal, t) * x0 + _of(schedule.noise, t) * noise


def simple_loss(
    predicted: Float[Array, "B H W C"], noise: Float[Array, "B H W C"]
) -> Float[Array, "B"]:
    """The mean over an image of (eps_theta - eps)^2, in float32. Source: Ho et al. 2020, eq. 14."""
    difference = predicted.astype(jnp.float32) - noise
    return (difference * difference).mean(axis=(1, 2, 3))


def predict_x0(
    schedule: Schedule,
    xt: Float[Array, "B H W C"],
    t: Int[Array, "B"],
    eps: Float[Array, "B H W C"],
    clip: bool = True,
) -> Float[Array, "B H W C"]:
    """(x_t - sqrt(1 - abar_t) eps) / sqrt(abar_t), cut to [-1, 1] where clip says so."""
    x0 = (xt - _of(schedule.noise, t) * eps) / _of(schedule.signal, t)
    return jnp.clip(x0, -1, 1) if clip else x0


def ancestral_step(
    schedule: Schedule,
    xt: Float[Array, "B H W C"],
    t: Int[Array, "B"],
    eps: Float[Array, "B H W C"],
    noise: Float[Array, "B H W C"],
    variance: Variance = "small",
    clip: bool = True,
) -> Float[Array, "B H W C"]:
    """x_{t-1} ~ N(mean of q(x_{t-1} | x_t, x_0), sigma^2), with the predicted x_0.

    At t = 0 it is the mean: no noise is added to the image.

    Args:
      schedule: see make_schedule.
      xt, t: images, and the time of each.
      eps: the noise that the network sees in them.
      noise: standard normal.
      variance: which of the schedule's deviations sigma is.
      clip: see predict_x0.

    Source: Ho et al. 2020, eq. 7 and algorithm 2.
    """
    x0 = predict_x0(schedule, xt, t, eps, clip)
    mean = _of(schedule.posterior_x0, t) * x0 + _of(schedule.posterior_xt, t) * xt
    sigma = _of(schedule.small if variance == "small" else schedule.large, t)
    return mean + jnp.where(t[:, None, None, None] > 0, sigma * noise, 0)


def ddim_step(
    schedule: Schedule,
    jumps: Jumps,
    xt: Float[Array, "B H W C"],
    number: Int[Array, ""] | int,
    eps: Float[Array, "B H W C"],
    noise: Float[Array, "B H W C"],
    clip: bool = True,
) -> Float[Array, "B H W C"]:
    """The images at the end of a jump.

    x0 x_0 + eps eps' + noise noise, with the jump's weights; eps' is the noise that leads from x_t
    to the clipped x_0.

    Args:
      schedule, jumps: of one name and number of steps.
      xt: images at the jump's beginning.
      number: of the jump, from 0.
      eps: the noise that the network sees in them.
      noise: standard normal; of no effect where eta is 0.
      clip: see predict_x0.
    """
    t = jnp.broadcast_to(jumps.times[number], xt.shape[:1])
    x0 = predict_x0(schedule, xt, t, eps, clip)
    eps = (xt - _of(schedule.signal, t) * x0) / _of(schedule.noise, t)
    return jumps.x0[number] * x0 + jumps.eps[number] * eps + jumps.noise[number] * noise


def _of(numbers: Float[Array, "T"], t: Int[Array, "B"]) -> Float[Array, "B 1 1 1"]:
    return numbers[t][:, None, None, None]
