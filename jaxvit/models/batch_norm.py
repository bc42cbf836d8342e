"""Batch normalisation as in PyTorch: over the whole batch, with unbiased running variances."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxvit.shapes import Array, Float

MOMENTUM, EPSILON = 0.1, 1e-5  # PyTorch's defaults


class BatchNorm(nn.Module):
    """y = (x - mean) / sqrt(var + eps) * scale + bias, for each channel.

    In training mean and var are those of all examples and positions of the batch, var with the
    divisor n. The running ones, used otherwise, are r' = (1 - m) r + m x, where x is the batch's
    mean, or its variance with the divisor n - 1. flax.linen.BatchNorm differs: its running variance
    has the divisor n, and its variance is E[x^2] - E[x]^2, which cancels.

    Parameters: `scale` and `bias` (C,). Collection "batch_stats": `mean` and `var` (C,), float32.

    Attributes:
      axis: the pmap axis over which a batch is spread, or None. Under jit a batch is whole.
      momentum: m, in [0, 1].
      eps: added to the variance, above 0.

    Source: Ioffe and Szegedy 2015, arXiv:1502.03167. Torch twin: torch.nn.BatchNorm2d, and
    torch.nn.SyncBatchNorm on many devices.
    """

    axis: str | None = None
    momentum: float = MOMENTUM
    eps: float = EPSILON

    @nn.compact
    def __call__(self, x: Float[Array, "B *S C"], deterministic: bool) -> Float[Array, "B *S C"]:
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        var = self.variable("batch_stats", "var", jnp.ones, (channels,))
        if deterministic:
            return self._normalized(x, mean.value, var.value, scale, bias)
        axes = tuple(range(x.ndim - 1))
        batch_mean = self._over_devices(x.mean(axes))
        batch_var = self._over_devices(jnp.square(x - batch_mean).mean(axes))
        if self.is_mutable_collection("batch_stats") and not self.is_initializing():
            devices = 1 if self.axis is None else jax.lax.axis_size(self.axis)
            n = x.size // channels * devices
            m, unbiased = self.momentum, batch_var * (n / max(1, n - 1))
            mean.value = (1 - m) * mean.value + m * batch_mean
            var.value = (1 - m) * var.value + m * unbiased
        return self._normalized(x, batch_mean, batch_var, scale, bias)

    def _over_devices(self, value: Array) -> Array:
        return value if self.axis is None else jax.lax.pmean(value, self.axis)

    def _normalized(self, x: Array, mean: Array, var: Array, scale: Array, bias: Array) -> Array:
        # One multiplication and one addition for each element.
        factor = scale * jax.lax.rsqrt(var + self.eps)
        return (x - mean) * factor + bias
