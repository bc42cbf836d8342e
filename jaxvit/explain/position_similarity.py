"""Position similarity: which positions a Vision Transformer has learned to be alike."""

import jax
import jax.numpy as jnp

from jaxvit.shapes import Array, Float


@jax.jit
def position_similarity(positions: Float[Array, "1 N D"]) -> Float[Array, "n n n n"]:
    """Cosines between the embeddings of the patches' positions.

    s[i, j, k, l] = cos(p_ij, p_kl) in [-1, 1], for the patch in row i and column j and that in row
    k and column l.

    Args:
      positions: params["positional_embedding"]; the first is the class token's and is left out.

    Raises:
      ValueError: the patches are no square grid.

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929, figure 7.
    """
    patches = positions[0, 1:]
    side = round(len(patches) ** 0.5)
    if side * side != len(patches) or not side:
        raise ValueError(
            f"positions of shape {positions.shape} have {len(patches)} patches, which are no "
            "square: give those of a Vision Transformer, with a class token"
        )
    unit = patches / jnp.maximum(jnp.linalg.norm(patches, axis=-1, keepdims=True), 1e-12)
    return jnp.matmul(unit, unit.T, precision="highest").reshape(side, side, side, side)
