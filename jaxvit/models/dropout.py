"""Dropout whose masks come from a hash of each element's index.

A fast path beside reference_draw_kept. JAX's default generator, threefry, is built to be
unpredictable; a dropout mask only has to be statistically random. This hash costs about a dozen
integer operations an element, which XLA fuses with the operation that computes x. Measured alone,
ViT-S/16 at batch 8 with dropout .1: the step takes 1.13 times as long with threefry's masks
(docs/experiments.md).
"""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxvit.shapes import Array, Bool, Float


class Dropout(nn.Module):
    """Zeroes each unit with probability `rate` and scales the others by 1 / (1 - rate).

    y = kept x / (1 - rate), with kept drawn by draw_kept; y = x where `deterministic` is True or
    `rate` is 0. Otherwise `apply` needs `rngs={"dropout": key}`.

    Attributes:
      rate: in [0, 1).

    The mask `kept`, bool of the shape of x, is sown as "kept" into the collection "dropout": read
    it with `model.apply(..., mutable=["dropout"])`.

    Source: Srivastava et al. 2014, JMLR 15. Torch twin: torch.nn.Dropout.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Float[Array, "*S"], deterministic: bool) -> Float[Array, "*S"]:
        if deterministic or self.rate == 0:
            return x
        kept = draw_kept(self.make_rng("dropout"), x.shape, 1 - self.rate)
        self.sow("dropout", "kept", kept)
        return jnp.where(kept, x / (1 - self.rate), 0)


def draw_kept(key: jax.Array, shape: tuple[int, ...], p: float) -> Bool[Array, "*S"]:
    """A mask that is True with probability p (to within 2^-32), independently for each element.

    Element i, in row-major order, is True where h(i) < 2^32 p. The hash h mixes i with two words
    drawn from the key by additions, multiplications by odd constants and xor-shifts. Each of these
    is invertible modulo 2^32, so different i have different h. Together they make every bit of h
    depend on every bit of i and of the key.

    Args:
      key: of jax.random; another key gives an independent mask.
      shape: fewer than 2^32 elements.
      p: in (0, 1].

    Source of the multipliers 7feb352d and 846ca68b: C. Wellons, "Prospecting for hash functions",
    2018 (lowbias32). 9e3779b1 is a prime close to 2^32 divided by the golden ratio.
    """
    word = jax.random.bits(key, (2,), jnp.uint32)
    h = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape) + word[0]
    h = (h ^ (h >> 16)) * jnp.uint32(0x7FEB352D)
    h = (h ^ (h >> 15)) * jnp.uint32(0x846CA68B)
    h = (h ^ (h >> 16)) + word[1]
    h = (h ^ (h >> 15)) * jnp.uint32(0x9E3779B1)
    h = h ^ (h >> 16)
    return h < jnp.uint32(min(round(p * 2**32), 2**32 - 1))


def reference_draw_kept(key: jax.Array, shape: tuple[int, ...], p: float) -> Bool[Array, "*S"]:
    """A mask of the same distribution, with other bits: from JAX's default generator, threefry."""
    return jax.random.bernoulli(key, p, shape)
