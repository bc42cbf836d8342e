"""Input times gradient: a first-order estimate of what each pixel adds to a logit."""

from jaxvit.explain.score import LogitsFn, Targets, check, jitted_gradients
from jaxvit.shapes import Array, Float


def input_times_gradient(
    logits_fn: LogitsFn, images: Float[Array, "B H W C"], targets: Targets
) -> Float[Array, "B H W C"]:
    """x dF_t / dx.

    Args:
      logits_fn: normalised images (B, H, W, C) to logits (B, K).
      images: normalised, so that 0 is the mean colour.
      targets: t, in [0, K): one class, or one for each image.

    Raises:
      ValueError: a target is no class.

    Source: Shrikumar et al. 2016, arXiv:1605.01713. Captum's InputXGradient.
    """
    function, targets = check(logits_fn, images, targets)
    return images * jitted_gradients(function, images, targets)
