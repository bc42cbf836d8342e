"""What training carries from one step to the next."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

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


def create_state(params: Params, tx: optax.GradientTransformation, ema: bool = False) -> TrainState:
    """A state at step 0."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=tx.init(params),
        # A copy: the step donates its state, and one buffer cannot be donated twice.
        ema_params=jax.tree.map(jnp.copy, params) if ema else None,
    )
