"""What training carries from one step to the next."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxvit.shapes import Array, Int

Params = Any  # a nested dict of arrays


class TrainState(NamedTuple):
    """The whole state of a run: with the seed and the step, everything that follows is fixed.

    Attributes:
      step: steps taken so far.
      params: the model's parameters, float32.
      opt_state: the optimiser's moments and counts.
      ema_params: the parameters' running average, or None where it is not asked for.
    """

    step: Int[Array, ""]
    params: Params
    opt_state: optax.OptState
    ema_params: Params | None

    @property
    def eval_params(self) -> Params:
        """The parameters to evaluate with: the average where there is one."""
        return self.params if self.ema_params is None else self.ema_params


def init_params(model: nn.Module, seed: int) -> Params:
    """Parameters drawn from the seed, in one compiled call: drawing them one by one is slow.

    Args:
      model: with attributes img_size and in_channels, as VisionTransformer.
      seed: of jax.random.key.
    """
    shape = (1, model.img_size, model.img_size, model.in_channels)
    return jax.jit(model.init)(jax.random.key(seed), jnp.zeros(shape))["params"]


def create_state(params: Params, tx: optax.GradientTransformation, ema: bool = False) -> TrainState:
    """A state at step 0."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=tx.init(params),
        # A copy: the step donates its state, and one buffer cannot be donated twice.
        ema_params=jax.tree.map(jnp.copy, params) if ema else None,
    )
