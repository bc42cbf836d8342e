"""What training carries from one step to the next."""

import hashlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.experimental import multihost_utils

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


def sha256(tree: Any) -> str:
    """A digest of names, shapes, dtypes and bytes, in the order of the names.

    Equal digests mean trees equal to the bit, wherever their arrays lie. Where processes hold
    parts of them, all processes have to call it, and all get the same.
    """
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(tree):
        if isinstance(leaf, jax.Array) and not (
            leaf.is_fully_addressable or leaf.is_fully_replicated
        ):
            leaf = multihost_utils.process_allgather(leaf, tiled=True)
        array = np.ascontiguousarray(jax.device_get(leaf))
        name = jax.tree_util.keystr(path)
        digest.update(f"{name}{array.shape}{array.dtype}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


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
