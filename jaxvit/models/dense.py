"""A linear layer whose bias is added, and whose bias gradient is summed, in float32."""

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxvit.models.initializers import Initializer
from jaxvit.shapes import Array, Float


class Dense(nn.Module):
    """y = x W + b, the product in `dtype`, the sum in float32.

    flax.linen.Dense casts b to `dtype` as well. In bfloat16 its gradient is then a sum over all
    tokens of the batch in 8 bits, which was 4 % off where PyTorch's was half a percent.

    Attributes:
      features: outputs.
      dtype: type of the product.
      kernel_init, bias_init: see jaxvit.models.initializers.

    Torch twin: torch.nn.Linear.
    """

    features: int
    kernel_init: Initializer
    bias_init: Initializer
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B F"]:
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        bias = self.param("bias", self.bias_init, (self.features,))
        product = x.astype(self.dtype) @ kernel.astype(self.dtype)
        return product.astype(jnp.float32) + bias
