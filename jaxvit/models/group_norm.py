"""Group normalisation as in PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxvit.shapes import Array, Float

EPSILON = 1e-5  # PyTorch's default


class GroupNorm(nn.Module):
    """y = (x - mean) / sqrt(var + eps) * scale + bias, for each image; x is float32.

    mean and var are those of all positions of a group of neighbouring channels. var is
    E[(x - mean)^2]; flax's E[x^2] - E[x]^2, unless told otherwise, cancels.

    Parameters: `scale` and `bias` (C,).

    Attributes:
      groups: G, which divides C.
      eps: added to the variance, above 0.

    Source: Wu and He 2018, arXiv:1803.08494. Torch twin: torch.nn.GroupNorm.
    """

    groups: int
    eps: float = EPSILON

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        return standardize_groups(x, self.groups, self.eps) * scale + bias


def standardize_groups(
    x: Float[Array, "B H W C"], groups: int, eps: float = EPSILON
) -> Float[Array, "B H W C"]:
    """(x - mean) / sqrt(var + eps), of all positions of a group of channels of an image.

    A fast path beside reference_standardize_groups, with the same values but for rounding. Means
    over positions come first, of all channels at once; a matmul then averages the channels of each
    group. Measured in docs/speed.md.

    Args:
      x: float32.
      groups: G, which divides C.
      eps: above 0.
    """
    channels = x.shape[-1]
    within = channels // groups
    average = np.kron(np.eye(groups), np.full((within, within), 1 / within)).astype(np.float32)

    def mean(x: Array) -> Array:
        of_channels = x.mean(axis=(1, 2))
        return jnp.matmul(of_channels, average, precision="highest")[:, None, None]

    centred = x - mean(x)
    return centred * jax.lax.rsqrt(mean(centred**2) + eps)


def reference_standardize_groups(
    x: Float[Array, "B H W C"], groups: int, eps: float = EPSILON
) -> Float[Array, "B H W C"]:
    """The same by flax.linen.GroupNorm."""
    norm = nn.GroupNorm(
        groups, epsilon=eps, use_fast_variance=False, use_scale=False, use_bias=False
    )
    return norm.apply({}, x)
