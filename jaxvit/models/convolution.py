"""Convolutions whose output has the input's size, or a part of it by their stride."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike

from jaxvit.models.initializers import Initializer
from jaxvit.shapes import Array, Float

# He et al. 2015, with the fan-out: N(0, 2 / (k k C_out)).
conv_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
FEW_POSITIONS = 4  # of a map, up to which a convolution is computed as a dense layer


class Conv(nn.Module):
    """A convolution, zero padded by (k - 1) / 2 on each side.

    Parameters: `kernel` (k, k, C_in, C_out), and `bias` (C_out,) where there is a bias_init. The
    output is float32 whatever dtype is.

    Attributes:
      features: C_out.
      size: k, odd.
      stride: of the output's positions.
      dtype: of the convolution; the bias is added in float32.
      kernel_init, bias_init: see jaxvit.models.initializers; without a bias_init there is no bias.

    Torch twin: torch.nn.Conv2d; its weight (C_out, C_in, k, k) transposed is `kernel`.
    """

    features: int
    size: int
    stride: int = 1
    dtype: DTypeLike = jnp.float32
    kernel_init: Initializer = conv_init
    bias_init: Initializer | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w F"]:
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        y = convolve(x.astype(self.dtype), kernel.astype(self.dtype), self.stride)
        y = y.astype(jnp.float32)
        if self.bias_init is None:
            return y
        return y + self.param("bias", self.bias_init, (self.features,))


def convolve(
    x: Float[Array, "B H W C"], kernel: Float[Array, "k k C F"], stride: int
) -> Float[Array, "B h w F"]:
    """y_pf = sum_ijc x_(stride p + (i, j) - (k - 1) / 2)c kernel_ijcf, with zeros outside of x.

    A fast path beside reference_convolve, with the same values but for rounding. A kernel of one
    position is a matmul of every stride-th position. A map of few positions is a dense layer from
    H W C to h w F numbers: XLA's convolution on a CPU has a fortieth of a matmul's speed there
    (docs/speed.md).
    """
    size, positions = kernel.shape[0], x.shape[1] * x.shape[2]
    if size == 1:
        return x[:, ::stride, ::stride] @ kernel[0, 0]
    if positions <= FEW_POSITIONS:
        return _as_dense(x, kernel, stride)
    return reference_convolve(x, kernel, stride)


def reference_convolve(
    x: Float[Array, "B H W C"], kernel: Float[Array, "k k C F"], stride: int
) -> Float[Array, "B h w F"]:
    """The same by XLA's convolution."""
    pad = (kernel.shape[0] // 2, kernel.shape[0] // 2)
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), (pad, pad), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _as_dense(x: Array, kernel: Array, stride: int) -> Array:
    batch, height, width, channels = x.shape
    size, features = kernel.shape[0], kernel.shape[-1]
    rows, columns = _taps(height, size, stride), _taps(width, size, stride)
    # Exact in any dtype: each entry of the dense layer's kernel is one of the convolution's, or 0.
    dense = jnp.einsum(
        "Hhi,Wwj,ijcf->HWchwf",
        rows, columns, kernel.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST,
    ).astype(kernel.dtype)  # fmt: skip
    y = x.reshape(batch, -1) @ dense.reshape(height * width * channels, -1)
    return y.reshape(batch, rows.shape[1], columns.shape[1], features)


def _taps(length: int, size: int, stride: int) -> np.ndarray:
    """(length, outputs, size): 1 where an input meets a kernel's position in an output."""
    inputs = np.arange(length)[:, None, None]
    outputs = np.arange(-(-length // stride))[:, None]
    return (inputs - stride * outputs + size // 2 == np.arange(size)).astype(np.float32)
