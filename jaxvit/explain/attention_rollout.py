"""Attention rollout: attention through all layers, with the residual path."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxvit.explain.attention_map import as_grid, attention_weights, leading_tokens
from jaxvit.shapes import Array, Float


def attention_rollout(
    model: nn.Module, variables: dict, images: Float[Array, "B H W C"]
) -> Float[Array, "B n n"]:
    """How much of each patch reaches what the head reads, if attention were all that mixes tokens.

    R = M_L ... M_2 M_1 with M_l = (mean over heads of A_l + I) / 2, where I stands for the residual
    path. Shown are the columns of the patches, as a grid: of the class token's row, or of the mean
    over the patches' rows where the model pools their mean, or of both, averaged.

    Args:
      model: a VisionTransformer, or a ResNet with an attention block.
      variables: {"params": ...}, and {"batch_stats": ...} where it has them.
      images: normalised.

    Raises:
      ValueError: the model has no attention weights.

    Source: Abnar and Zuidema 2020, arXiv:2005.00928, eq. 1.
    """
    weights = attention_weights(model, variables, images)
    return _rolled(weights, leading_tokens(model), getattr(model, "pool", "cls"))


@partial(jax.jit, static_argnames=("leading", "pool"))
def _rolled(of_layers: list[Array], leading: int, pool: str) -> Array:
    """What the head reads, of the product of all layers."""
    mean = jnp.stack(of_layers).mean(axis=2)  # (L, B, N, N), rows sum to 1
    layers = (mean + jnp.eye(mean.shape[-1])) / 2
    # In a loop: XLA on a CPU takes 6 s to prepare a chain of 11 products.
    rolled, _ = jax.lax.scan(lambda below, layer: (layer @ below, None), layers[0], layers[1:])
    of_patches = rolled[:, leading:].mean(axis=1)
    read = {
        "cls": rolled[:, 0], "mean": of_patches, "both": (rolled[:, 0] + of_patches) / 2
    }[pool]  # fmt: skip
    return as_grid(read, leading)
