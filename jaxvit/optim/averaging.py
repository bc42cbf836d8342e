"""Running averages of weights."""

import jax
import jax.numpy as jnp


def update_average(average, weights, decay: float, before=None):
    """average' = decay average + (1 - decay) weights, for every floating-point array.

    Two kinds of arrays are copied from weights. Integers, such as counts of batches, because
    optax.incremental_update would turn them into floats. And frozen weights, because the average of
    equal numbers is rounded to another number.

    Args:
      average, weights: trees of the same structure and shapes.
      decay: in [0, 1).
      before: weights before this step. An array that is the same object there and in weights is
        frozen.

    Returns:
      average', a tree of the same structure.

    Source: Polyak and Juditsky 1992; optax.incremental_update, for floats.
    """
    step_size = 1 - decay

    def update(new: jax.Array, old: jax.Array, new_before: jax.Array | None) -> jax.Array:
        if new is new_before or not jnp.issubdtype(new.dtype, jnp.floating):
            return new
        return step_size * new + (1.0 - step_size) * old

    if before is None:
        before = jax.tree.map(lambda _: None, weights)
    return jax.tree.map(update, weights, average, before)
