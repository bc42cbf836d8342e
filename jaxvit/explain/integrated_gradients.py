"""Integrated gradients: the gradient averaged along the way from a baseline to the image."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvit.explain.parts import BATCH_SIZE, add_up
from jaxvit.explain.quadrature import Method, quadrature
from jaxvit.explain.score import LogitsFn, Targets, broadcast_baselines, check, gradients
from jaxvit.shapes import Array, Float


def integrated_gradients(
    logits_fn: LogitsFn,
    images: Float[Array, "B H W C"],
    targets: Targets,
    *,
    baselines: float | Array = 0.0,
    steps: int = 50,
    method: Method = "gausslegendre",
    batch_size: int = BATCH_SIZE,
) -> Float[Array, "B H W C"]:
    """(x - x') times the integral over a in [0, 1] of dF_t / dx at x' + a (x - x').

    Completeness: attributions sum to F_t(x) - F_t(x') but for the error of the quadrature, which
    convergence_delta tells (with riemann_trapezoid, to 1 - 1/steps of it and less).

    Args:
      logits_fn: normalised images (B, H, W, C) to logits (B, K).
      images: x, normalised.
      targets: t, in [0, K): one class, or one for each image.
      baselines: x', normalised; 0 is the mean colour. A number, an image, or one for each.
      steps, method: of the quadrature.
      batch_size: images in the model at a time, which bounds memory; steps of all images are laid
        end to end and taken in such parts.

    Raises:
      ValueError: a target is no class, baselines do not fit, or there is no such quadrature.

    Source: Sundararajan et al. 2017, arXiv:1703.01365. Captum's IntegratedGradients, which rounds
    its weights to float32.
    """
    function, targets = check(logits_fn, images, targets)
    baselines = broadcast_baselines(baselines, images)
    points, weights = quadrature(method, steps)

    def part_of(rows: np.ndarray, counts: np.ndarray) -> tuple:
        example, step = rows % len(images), rows // len(images)
        weight = np.where(counts, weights[step], 0)
        return example, points[step].astype(images.dtype), weight.astype(images.dtype)

    constants = (function, images, baselines, targets)
    zeros = jnp.zeros_like(images)
    total = add_up(_add_part, zeros, constants, steps * len(images), batch_size, part_of)
    return total * (images - baselines)


@jax.jit
def _add_part(total, function, images, baselines, targets, example, point, weight):
    """total, with the weighted gradients of some steps added to their examples."""
    image, baseline = images[example], baselines[example]
    between = baseline + point[:, None, None, None] * (image - baseline)
    found = gradients(function, between, targets[example])
    return total.at[example].add(weight[:, None, None, None] * found)
