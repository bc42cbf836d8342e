"""A model's variables: parameters, and what it carries that is not differentiated.

A tree of weights, which is what is scored, averaged and saved, is the parameters alone for a model
that carries nothing (a Vision Transformer), and otherwise what model.apply takes: {"params":
parameters, "batch_stats": running statistics}.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

Tree = Any  # a nested dict of arrays


def init_variables(model: nn.Module, key: jax.Array) -> tuple[Tree, Tree]:
    """(params, extra): initial parameters, and the collections that the model carries, {} for none.

    Drawn in one compiled call because separate draws are slow.

    Args:
      model: has the attributes img_size and in_channels, as VisionTransformer and ResNet; or a
        method example_inputs, which gives what it is called with.
      key: of jax.random.

    Returns:
      Nested dicts of float32 arrays.
    """
    if hasattr(model, "example_inputs"):
        inputs = model.example_inputs()
    else:
        inputs = (jnp.zeros((1, model.img_size, model.img_size, model.in_channels)),)
    return split(jax.jit(model.init)(key, *inputs))


def joined(params: Tree, extra: Mapping[str, Tree]) -> Tree:
    """The tree of weights of parameters and what is carried besides them.

    Example:
      >>> joined({"fc": 1}, {}), joined({"fc": 1}, {"batch_stats": 2})
      ({'fc': 1}, {'params': {'fc': 1}, 'batch_stats': 2})
    """
    return {"params": params, **extra} if extra else params


def split(weights: Tree) -> tuple[Tree, Tree]:
    """(params, extra) of a tree of weights: the inverse of `joined`."""
    if "params" not in weights:
        return weights, {}
    return weights["params"], {name: part for name, part in weights.items() if name != "params"}


def count_params(weights: Tree) -> int:
    """The number of parameters of a tree of weights, without statistics."""
    return sum(leaf.size for leaf in jax.tree.leaves(split(weights)[0]))


def variables_of(weights: Tree) -> Tree:
    """What model.apply takes, of a tree of weights."""
    return weights if "params" in weights else {"params": weights}
