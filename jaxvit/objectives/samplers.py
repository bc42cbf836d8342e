"""Images from noise by a network that predicts it: two samplers, each one compiled loop."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxvit.objectives.diffusion import (
    Jumps,
    Schedule,
    Variance,
    ancestral_step,
    ddim_step,
)
from jaxvit.shapes import Array, Float, Int

# (x_t, times) -> the noise in x_t
PredictNoise = Callable[[Float[Array, "B H W C"], Int[Array, "B"]], Float[Array, "B H W C"]]
# The number of a draw -> standard normal noise of the shape of x; 0 is the beginning.
DrawNoise = Callable[[Int[Array, ""] | int], Float[Array, "B H W C"]]


def ancestral_sample(
    predict: PredictNoise, schedule: Schedule, draw: DrawNoise, variance: Variance = "small"
) -> Float[Array, "B H W C"]:
    """Through every time, from draw(0), with draw(1), draw(2), ... added on the way.

    Args:
      predict: the network.
      schedule: of T steps.
      draw: see DrawNoise.
      variance: see jaxvit.objectives.diffusion.ancestral_step.

    Returns:
      Images of about [-1, 1].

    Source: Ho et al. 2020, arXiv:2006.11239, algorithm 2. Torch twin: torch_ref/survey/ddpm.py.
    """
    steps = len(schedule.signal)

    def back(x: Array, number: Array) -> tuple[Array, None]:
        t = jnp.broadcast_to(steps - 1 - number, x.shape[:1])
        noise = draw(number + 1)
        return ancestral_step(schedule, x, t, predict(x, t), noise, variance), None

    return jax.lax.scan(back, draw(0), jnp.arange(steps))[0]


def ddim_sample(
    predict: PredictNoise, schedule: Schedule, jumps: Jumps, draw: DrawNoise, draws: bool = False
) -> Float[Array, "B H W C"]:
    """Through the times of the jumps, from draw(0); see ddim_stages."""
    return ddim_stages(predict, schedule, jumps, draw, draws)[0]


def ddim_stages(
    predict: PredictNoise, schedule: Schedule, jumps: Jumps, draw: DrawNoise, draws: bool = False
) -> tuple[Float[Array, "B H W C"], Float[Array, "S B H W C"]]:
    """Images, and where each jump towards them began.

    Args:
      predict: the network.
      schedule, jumps: of one name and number of steps.
      draw: see DrawNoise.
      draws: whether jumps add noise, that is whether eta is above 0.

    Returns:
      Images of about [-1, 1], and x_t at the beginning of each of the S jumps, noise first.

    Source: Song et al. 2021, arXiv:2010.02502. Torch twin: torch_ref/survey/ddpm.py.
    """

    def jump(x: Array, number: Array) -> tuple[Array, Array]:
        t = jnp.broadcast_to(jumps.times[number], x.shape[:1])
        noise = draw(number + 1) if draws else jnp.zeros_like(x)
        return ddim_step(schedule, jumps, x, number, predict(x, t), noise), x

    return jax.lax.scan(jump, draw(0), jnp.arange(len(jumps.times)))
