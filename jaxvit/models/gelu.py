"""The exact GELU, with a derivative that keeps one array for the backward pass."""

import math

import jax
import jax.numpy as jnp

from jaxvit.shapes import Array, Float


@jax.custom_jvp
def gelu(x: Float[Array, "*S"]) -> Float[Array, "*S"]:
    """x Phi(x), with Phi(x) = (1 + erf(x / sqrt 2)) / 2, the normal distribution function.

    A fast path beside reference_gelu. Its derivative, Phi(x) + x phi(x) with phi the normal
    density, is formed in the forward pass and is all that is kept; JAX's own rule keeps the factors
    of the multiplication, three arrays as large as x. Measured alone, ViT-S/16 at batch 8 with
    dropout .1: 881 to 649 MB of temporaries, and 1.7 % of the step (docs/experiments.md).

    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415. Torch twin: torch.nn.GELU().
    """
    return x * _distribution(x)


@gelu.defjvp
def _derivative(primals, tangents):
    (x,), (dx,) = primals, tangents
    density = jnp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
    return gelu(x), (_distribution(x) + x * density) * dx


def reference_gelu(x: Float[Array, "*S"]) -> Float[Array, "*S"]:
    """The same function, with the derivative that JAX makes of it."""
    return x * _distribution(x)


def _distribution(x: Array) -> Array:
    return 0.5 * (1 + jax.lax.erf(x * math.sqrt(0.5)))
