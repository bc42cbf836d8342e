"""Convolutions of 4 x 4 positions that halve a map's sides, or double them.

Both are matmuls of four neighbouring positions, so that their gradients are matmuls too: XLA
computes the gradient of a convolution with a stride on a CPU by a slow general loop.
"""

import jax
import jax.numpy as jnp

from jaxvit.shapes import Array, Float


def halve(
    x: Float[Array, "B H W C"], kernel: Float[Array, "4 4 C F"]
) -> Float[Array, "B H//2 W//2 F"]:
    """y_pf = sum_ijc x_(2 p + (i, j) - 1)c kernel_ijcf, with zeros outside of x.

    A fast path beside reference_halve, with the same values but for rounding.

    Args:
      x: of even sides.
      kernel: of torch.nn.Conv2d(C, F, 4, stride=2, padding=1), whose weight (F, C, 4, 4) is
        transposed.
    """
    batch, height, width, channels = x.shape
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    # Squares of 2 x 2 positions, of which an output sees four.
    squares = x.reshape(batch, height // 2 + 1, 2, width // 2 + 1, 2, channels)
    squares = squares.swapaxes(2, 3).reshape(batch, height // 2 + 1, width // 2 + 1, 4 * channels)
    seen = [squares[:, i : i + height // 2, j : j + width // 2] for i in (0, 1) for j in (0, 1)]
    # (i, a, j, b, C, F), with 2 i + a and 2 j + b the kernel's position, to (i, j, a, b, C, F).
    weights = kernel.reshape(2, 2, 2, 2, channels, -1).swapaxes(1, 2)
    return jnp.concatenate(seen, axis=-1) @ weights.reshape(16 * channels, -1)


def reference_halve(
    x: Float[Array, "B H W C"], kernel: Float[Array, "4 4 C F"]
) -> Float[Array, "B H//2 W//2 F"]:
    """The same by XLA's convolution."""
    return jax.lax.conv_general_dilated(
        x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def double(
    x: Float[Array, "B H W C"], kernel: Float[Array, "4 4 C F"]
) -> Float[Array, "B 2*H 2*W F"]:
    """y_qf = sum of x_pc kernel_ijcf over all p, (i, j) and c with 2 p + (i, j) - 1 = q.

    A fast path beside reference_double, with the same values but for rounding.

    Args:
      x: a map.
      kernel: of torch.nn.ConvTranspose2d(C, F, 4, stride=2, padding=1), whose weight (C, F, 4, 4)
        is transposed.
    """
    batch, height, width, channels = x.shape
    features = kernel.shape[-1]
    spread = x @ kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    spread = spread.reshape(batch, height, width, 4, 4, features)
    rows = _interleaved(spread.transpose(0, 2, 4, 1, 3, 5))  # (B, W, 4, 2H, F)
    return _interleaved(rows.transpose(0, 3, 1, 2, 4))  # (B, 2H, 2W, F)


def _interleaved(x: Float[Array, "*B N 4 F"]) -> Float[Array, "*B 2*N F"]:
    """y_(2 n + i - 1) = sum of x_ni over all n and i that give this position."""
    before = jnp.pad(x[..., :-1, 3, :], [(0, 0)] * (x.ndim - 3) + [(1, 0), (0, 0)])
    after = jnp.pad(x[..., 1:, 0, :], [(0, 0)] * (x.ndim - 3) + [(0, 1), (0, 0)])
    pairs = jnp.stack([x[..., 1, :] + before, x[..., 2, :] + after], axis=-2)
    return pairs.reshape(*x.shape[:-3], -1, x.shape[-1])


def reference_double(
    x: Float[Array, "B H W C"], kernel: Float[Array, "4 4 C F"]
) -> Float[Array, "B 2*H 2*W F"]:
    """The same by XLA's convolution, of x with zeros between its positions."""
    return jax.lax.conv_general_dilated(
        x, kernel[::-1, ::-1], (1, 1), ((2, 2), (2, 2)), lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip
