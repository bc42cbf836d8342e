"""Batch normalisation as in PyTorch: over the whole batch, with unbiased running variances."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxvit.models.initializers import Initializer
from jaxvit.models.variables import Tree
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
      scale_init: initial `scale`.

    Source: Ioffe and Szegedy 2015, arXiv:1502.03167. Torch twin: torch.nn.BatchNorm2d, and
    torch.nn.SyncBatchNorm on many devices.
    """

    axis: str | None = None
    momentum: float = MOMENTUM
    eps: float = EPSILON
    scale_init: Initializer = nn.initializers.ones

    @nn.compact
    def __call__(self, x: Float[Array, "B *S C"], deterministic: bool) -> Float[Array, "B *S C"]:
        channels = x.shape[-1]
        scale = self.param("scale", self.scale_init, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        var = self.variable("batch_stats", "var", jnp.ones, (channels,))
        if deterministic:
            # One multiplication and one addition for each element.
            return (x - mean.value) * (scale * jax.lax.rsqrt(var.value + self.eps)) + bias
        h, batch_mean, batch_var = standardize_batch(x, self.axis, self.eps)
        if self.is_mutable_collection("batch_stats") and not self.is_initializing():
            devices = 1 if self.axis is None else jax.lax.axis_size(self.axis)
            n = x.size // channels * devices
            m, unbiased = self.momentum, batch_var * (n / max(1, n - 1))
            mean.value = (1 - m) * mean.value + m * batch_mean
            var.value = (1 - m) * var.value + m * unbiased
        return h * scale + bias


def statistics_of_batch(
    model: nn.Module, running: Tree, update: Callable[[nn.Module, Tree], Tree]
) -> Tree:
    """The mean and unbiased variance of one batch in each BatchNorm of a model.

    From running statistics of 0 a step leaves those of the batch, times the momentum.

    Args:
      model: has an attribute `axis`. Its BatchNorms have the default momentum.
      running: its statistics; only their shapes count.
      update: of a model and running statistics, these after a step in training. The model that it
        is given does not expect to run under pmap.

    Returns:
      Statistics as `running`.
    """
    found = update(model.clone(axis=None), jax.tree.map(jnp.zeros_like, running))
    return jax.tree.map(lambda x: x / MOMENTUM, found)


class Standardized(NamedTuple):
    """Of a batch.

    Attributes:
      h: (x - mean) / sqrt(var + eps), of the shape of x.
      mean, var: of each channel; var is biased.
    """

    h: Array
    mean: Array
    var: Array


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def standardize_batch(
    x: Float[Array, "B *S C"], axis: str | None = None, eps: float = EPSILON
) -> Standardized:
    """Standardised over all examples and positions, with the statistics.

    A fast path beside reference_standardize_batch. Its derivatives are written out as
    dmean = mean(dx), dvar = 2 mean(h dx) / r and dh = r (dx - dmean - h mean(h dx)), with
    r = 1 / sqrt(var + eps), so that the backward pass stores h and r, and sums twice over the
    batch. Measured in docs/speed.md.

    Args:
      x: float32.
      axis: the pmap axis over which the batch is spread, or None.
      eps: above 0.
    """
    return _standardize(x, axis, eps)[0]


@standardize_batch.defjvp
def _derivative(axis, eps, primals, tangents):
    (x,), (dx,) = primals, tangents
    found, rate = _standardize(x, axis, eps)
    dmean, along = _mean(dx, axis), _mean(found.h * dx, axis)
    dh = rate * (dx - dmean - found.h * along)
    return found, Standardized(dh, dmean, 2 * along / rate)


def reference_standardize_batch(
    x: Float[Array, "B *S C"], axis: str | None = None, eps: float = EPSILON
) -> Standardized:
    """The same, differentiated by JAX."""
    return _standardize(x, axis, eps)[0]


def _standardize(x: Array, axis: str | None, eps: float) -> tuple[Standardized, Array]:
    """The result, and 1 / sqrt(var + eps)."""
    mean = _mean(x, axis)
    var = _mean(jnp.square(x - mean), axis)
    rate = jax.lax.rsqrt(var + eps)
    return Standardized((x - mean) * rate, mean, var), rate


def _mean(x: Array, axis: str | None) -> Array:
    """Of each channel, over all devices."""
    mean = x.mean(tuple(range(x.ndim - 1)))
    return mean if axis is None else jax.lax.pmean(mean, axis)
