"""Running averages of weights."""

import jax
import jax.numpy as jnp


def update_average(average, weights, decay: float):
    """average' = decay average + (1 - decay) weights, for every floating-point array.

    Integer arrays, such as counts of batches, are copied from weights, because
    optax.incremental_update would turn them into floats.

    Args:
      average, weights: trees of the same structure and shapes.
      decay: in [0, 1).

    Returns:
      average', a tree of the same structure.

    Source: Polyak and Juditsky 1992; optax.incremental_update, for floats.
    """
    step_size = 1 - decay

    def update(new: jax.Array, old: jax.Array) -> jax.Array:
        if not jnp.issubdtype(new.dtype, jnp.floating):
            return new
        return step_size * new + (1.0 - step_size) * old

    return jax.tree.map(update, weights, average)
