"""GELU: the exact (erf) one, and its tanh approximation."""

import math

import jax
import jax.numpy as jnp

from jaxvit.shapes import Array, Float


def gelu(x: Float[Array, "*S"]) -> Float[Array, "*S"]:
    """GELU(x) = x Phi(x), with the normal distribution function Phi(x) = (1 + erf(x / sqrt 2)) / 2.

    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415. Torch twin: torch.nn.GELU().
    """
    return x * (0.5 * (1 + jax.lax.erf(x * math.sqrt(0.5))))


def gelu_tanh(x: Float[Array, "*S"]) -> Float[Array, "*S"]:
    """GELU's approximation x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.

    Flax's default, and so that of weights trained in JAX. It is up to 5e-4 off the exact one.

    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415. Torch twin: torch.nn.GELU("tanh").
    """
    return 0.5 * x * (1 + jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
