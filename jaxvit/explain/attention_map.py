"""Attention maps: how much the class token attends to each patch, layer by layer."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict

from jaxvit.shapes import Array, Float

NAME = "attention_weights"  # as the attention modules sow them


def attention_map(
    model: nn.Module, variables: dict, images: Float[Array, "B H W C"]
) -> Float[Array, "B L n n"]:
    """The class token's attention weights, averaged over heads, for each layer.

    A_l[cls, patches], with the patches as a grid of n x n; L layers. Rows of A_l sum to 1 with the
    class token and registers, which are left out here. A model that pools the mean of its patches
    does not read the class token of its last layer: take attention_rollout for it.

    Args:
      model: a VisionTransformer, or a ResNet with an attention block.
      variables: {"params": ...}, and {"batch_stats": ...} where it has them.
      images: normalised.

    Raises:
      ValueError: the model has no attention weights.

    Source: Caron et al. 2021, arXiv:2104.14294.
    """
    weights = jnp.stack(attention_weights(model, variables, images), axis=1).mean(axis=2)
    return as_grid(weights[:, :, 0], leading_tokens(model))


def attention_weights(
    model: nn.Module, variables: dict, images: Float[Array, "B H W C"]
) -> list[Float[Array, "B h N N"]]:
    """Of each layer, in order.

    Raises:
      ValueError: the model has none.
    """
    flat = flatten_dict(_sown(model, variables, images).get("intermediates", {}))
    found = {path: value for path, value in flat.items() if path[-1] == NAME}
    if not found:
        raise ValueError(
            f"a {type(model).__name__} has no attention weights: use a method that needs none, "
            "such as integrated_gradients, occlusion or grad_cam"
        )
    return [found[path][0] for path in sorted(found, key=_number)]


@partial(jax.jit, static_argnames="model")
def _sown(model: nn.Module, variables: dict, images: Array) -> dict:
    return model.apply(variables, images, deterministic=True, mutable=["intermediates"])[1]


def has_attention(model: nn.Module) -> bool:
    """Whether a model has attention weights."""
    return hasattr(model, "num_heads")


def _number(path: tuple[str, ...]) -> int:
    """Of the layer: layers_10 comes after layers_9."""
    numbers = [part.rpartition("_")[2] for part in path if part.startswith("layers_")]
    return int(numbers[0]) if numbers else 0


def leading_tokens(model: nn.Module) -> int:
    """Tokens before the patches: the class token and registers."""
    return 1 + getattr(model, "register_tokens", 0)


def as_grid(tokens: Float[Array, "*B N"], leading: int) -> Float[Array, "*B n n"]:
    """What belongs to the patches, in rows and columns of the image."""
    patches = tokens[..., leading:]
    side = round(patches.shape[-1] ** 0.5)
    return patches.reshape(*patches.shape[:-1], side, side)
