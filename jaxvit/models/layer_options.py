"""The options that all encoder layers of a model share."""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxvit.models.initializers import Init
from jaxvit.models.layer_norm import EPSILON


class LayerOptions(nn.Module):
    """What every encoder layer of a model has in common; a base class without parameters.

    Attributes:
      embed_dim: width D of a token.
      num_heads: attention heads; divides embed_dim.
      mlp_ratio: hidden width of the MLP divided by embed_dim.
      dropout: rate in the MLP, after GELU and after its second Linear, in [0, 1).
      dtype: of the matmuls, float32 or bfloat16; parameters, residual stream, LayerNorm and
        softmax stay float32.
      init_scheme: "torch" or "vit", see jaxvit.models.initializers.
      norm_eps: epsilon of every LayerNorm.
      gelu: "erf", the exact one, or its approximation by "tanh".
      layer_scale: initial gamma of LayerScale; 0 for layers without it.
      qkv_bias: whether q, k and v have a bias.
      attention_dropout, projection_dropout: see MultiHeadSelfAttention.
      activation_dropout: rate after GELU where it is not `dropout`.
      drop_path: rate of stochastic depth in the last layer; it rises linearly from 0 in the first.
    """

    embed_dim: int
    num_heads: int
    mlp_ratio: float = 4.0
    dropout: float = 0.1
    dtype: DTypeLike = jnp.float32
    init_scheme: Init = "torch"
    norm_eps: float = EPSILON
    gelu: Literal["erf", "tanh"] = "erf"
    layer_scale: float = 0.0
    qkv_bias: bool = True
    attention_dropout: float = 0.0
    projection_dropout: float = 0.0
    activation_dropout: float | None = None
    drop_path: float = 0.0

    def layer_options(self) -> dict[str, Any]:
        """These attributes by name."""
        names = {field.name for field in dataclasses.fields(LayerOptions)} - {"parent", "name"}
        return {name: getattr(self, name) for name in names}
