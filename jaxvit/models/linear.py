"""Linear layers, with gradients that come in the layout of what they are gradients of.

The bias is added, and its gradient summed, in float32. Flax's Dense and Conv cast the bias to the
type of the product. In bfloat16 its gradient is then a sum over all tokens of the batch in 8 bits,
which was 4 % off where PyTorch's was half a percent.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxvit.models.initializers import Initializer
from jaxvit.shapes import Array, Float


class Dense(nn.Module):
    """y = x W + b, the product in `dtype`, the sum in float32.

    Attributes:
      features: outputs.
      kernel_init, bias_init: see jaxvit.models.initializers.
      dtype: type of the product.

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
        return _affine(x, kernel, bias, self.dtype)


class PatchProjection(nn.Module):
    """A convolution whose stride is its kernel's size, as the one matrix product that it is.

    Attributes:
      features: width D of a token.
      patch_size: p; divides height and width of the image.
      kernel_init, bias_init: see jaxvit.models.initializers.
      dtype: type of the product.

    Torch twin: torch.nn.Conv2d, of whose weight `kernel` (p, p, C, D) is a transpose.
    """

    features: int
    patch_size: int
    kernel_init: Initializer
    bias_init: Initializer
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        p, (batch, height, width, channels) = self.patch_size, x.shape
        kernel = self.param("kernel", self.kernel_init, (p, p, channels, self.features))
        bias = self.param("bias", self.bias_init, (self.features,))
        x = x.reshape(batch, height // p, p, width // p, p, channels)
        patches = x.swapaxes(2, 3).reshape(batch, height // p, width // p, -1)
        return _affine(patches, kernel.reshape(-1, self.features), bias, self.dtype)


def _affine(x: Array, kernel: Array, bias: Array, dtype: DTypeLike) -> Array:
    product = matmul(x.reshape(-1, x.shape[-1]), kernel, dtype)
    return product.astype(jnp.float32).reshape(*x.shape[:-1], -1) + bias


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def matmul(x: Float[Array, "M D"], kernel: Float[Array, "D F"], dtype: DTypeLike) -> Array:
    """x W in `dtype`; the gradient of W is summed into float32. Reverse mode only.

    JAX's own rule makes the gradient of W as (F, D) and turns it over; XLA on a CPU then copies an
    operand into another layout, and computes all that leads to it again in that order.

    Returns:
      (M, F), of type dtype.
    """
    return x.astype(dtype) @ kernel.astype(dtype)


def _forward(x: Array, kernel: Array, dtype: DTypeLike):
    # The types of x and W, which their gradients have to have, come with what is kept.
    kept = x.astype(dtype)
    return kept @ kernel.astype(dtype), (kept, kernel, jnp.zeros((), x.dtype))


def _backward(dtype: DTypeLike, residuals, g: Array):
    x, kernel, like = residuals
    dx = jax.lax.dot_general(g, kernel.astype(dtype), (((1,), (1,)), ((), ())))
    dkernel = jax.lax.dot_general(
        x, g, (((0,), (0,)), ((), ())), preferred_element_type=kernel.dtype
    )
    return dx.astype(like.dtype), dkernel


matmul.defvjp(_forward, _backward)


def reference_matmul(
    x: Float[Array, "M D"], kernel: Float[Array, "D F"], dtype: DTypeLike
) -> Array:
    """The same function, with the gradients that JAX makes of it."""
    return x.astype(dtype) @ kernel.astype(dtype)
