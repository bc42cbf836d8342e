"""The losses of a generator and a discriminator, from the logits that an image is real."""

import jax

from jaxvit.shapes import Array, Float


def discriminator_loss(real: Float[Array, "B"], fake: Float[Array, "B"]) -> Float[Array, "B"]:
    """-log s(real) - log(1 - s(fake)), with s the logistic function, in nats.

    As softplus(-real) + softplus(fake), which overflows for no logit.

    Args:
      real, fake: logits of real and of generated images.

    Source: Goodfellow et al. 2014, arXiv:1406.2661, eq. 1.

    Example:
      >>> import jax.numpy as jnp
      >>> real, fake = jnp.array([0.0, 200.0]), jnp.array([0.0, -200.0])
      >>> [f"{x:.3f}" for x in discriminator_loss(real, fake)]
      ['1.386', '0.000']
    """
    return jax.nn.softplus(-real) + jax.nn.softplus(fake)


def generator_loss(fake: Float[Array, "B"]) -> Float[Array, "B"]:
    """-log s(fake): the non-saturating loss. Source: Goodfellow et al. 2014, section 3."""
    return jax.nn.softplus(-fake)
