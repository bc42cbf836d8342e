"""Linear layers whose bias is added, and its gradient summed, in float32.

Flax's Dense and Conv cast the bias to the dtype of the matmul. In bfloat16 its gradient is then a
sum over all tokens of the batch with 8 significant bits: it was 4 % off, and PyTorch's 0.5 %.
"""

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxvit.models.initializers import Initializer
from jaxvit.shapes import Array, Float


class Dense(nn.Module):
    """y = x W + b, with the matmul in `dtype` and the addition of b in float32.

    Parameters: `kernel` W (D, F) and `bias` b (F,). The output is float32 whatever `dtype` is.

    Called with `columns`, a slice, it gives these columns of y alone, and computes no others.

    Attributes:
      features: width F of the output.
      kernel_init, bias_init: see jaxvit.models.initializers; without a bias_init there is no b.
      dtype: of the matmul.

    Torch twin: torch.nn.Linear.
    """

    features: int
    kernel_init: Initializer
    bias_init: Initializer | None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "*B D"], columns: slice = slice(None)
    ) -> Float[Array, "*B F"]:
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))[:, columns]
        if self.bias_init is None:
            return _affine(x, kernel, None, self.dtype)
        bias = self.param("bias", self.bias_init, (self.features,))[columns]
        return _affine(x, kernel, bias, self.dtype)


class PatchProjection(nn.Module):
    """A convolution whose stride equals its kernel size, computed as one matmul.

    y[b, i, j] = patch[b, i, j] W + b, where patch[b, i, j] holds the p p C values of rows i p to
    (i + 1) p - 1 and columns j p to (j + 1) p - 1. The output is float32 whatever `dtype` is.

    Attributes:
      features: width D of a token.
      patch_size: p, in pixels; divides height and width of the image.
      kernel_init, bias_init: see jaxvit.models.initializers.
      dtype: of the matmul.

    Torch twin: torch.nn.Conv2d; its weight (D, C, p, p) transposed is `kernel` (p, p, C, D).
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
        x = x.reshape(batch, height // p, p, width // p, p, channels)  # (B, h, p, w, p, C)
        patches = x.swapaxes(2, 3).reshape(batch, height // p, width // p, -1)
        return _affine(patches, kernel.reshape(-1, self.features), bias, self.dtype)


def _affine(x: Array, kernel: Array, bias: Array | None, dtype: DTypeLike) -> Array:
    """x W + b over the last axis, with all other axes of x flattened into one for the matmul."""
    y = x.reshape(-1, x.shape[-1]).astype(dtype) @ kernel.astype(dtype)
    y = y.astype(jnp.float32).reshape(*x.shape[:-1], -1)
    return y if bias is None else y + bias
