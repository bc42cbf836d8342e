"""Saliency: the gradient of a class's logit with respect to the image."""

import jax.numpy as jnp

from jaxvit.explain.score import LogitsFn, Targets, check, jitted_gradients
from jaxvit.shapes import Array, Float


def saliency(
    logits_fn: LogitsFn,
    images: Float[Array, "B H W C"],
    targets: Targets,
    *,
    absolute: bool = True,
) -> Float[Array, "B H W C"]:
    """|dF_t / dx|: how much the logit changes with each pixel.

    Args:
      logits_fn: normalised images (B, H, W, C) to logits (B, K).
      images: normalised.
      targets: t, in [0, K): one class, or one for each image.
      absolute: whether the sign is dropped, as Captum's default does.

    Raises:
      ValueError: a target is no class.

    Source: Simonyan et al. 2013, arXiv:1312.6034. Captum's Saliency.
    """
    function, targets = check(logits_fn, images, targets)
    found = jitted_gradients(function, images, targets)
    return jnp.abs(found) if absolute else found
