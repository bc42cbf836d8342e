"""GradientShap: integrated gradients over random baselines, one random step for each."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvit.explain.noise_tunnel import draw_noise_tunnel
from jaxvit.explain.parts import BATCH_SIZE, add_up
from jaxvit.explain.score import LogitsFn, Targets, check, gradients
from jaxvit.shapes import Array, Float, Int


class GradientShapDraw(NamedTuple):
    """What is random.

    Attributes:
      noise: added to each copy of each image.
      baseline: its row of the baselines.
      coefficient: in [0, 1), one for each copy.
    """

    noise: Float[Array, "S B H W C"]
    baseline: Int[Array, "S B"]
    coefficient: Float[Array, "S B"]


def gradient_shap(
    logits_fn: LogitsFn,
    images: Float[Array, "B H W C"],
    targets: Targets,
    *,
    baselines: Float[Array, "R H W C"],
    key: Array,
    samples: int = 5,
    stdevs: float = 0.0,
    batch_size: int = BATCH_SIZE,
) -> Float[Array, "B H W C"]:
    """The mean over samples of (x + e - b) dF_t/dx at c (x + e) + (1 - c) b.

    b is a random row of the baselines, c ~ U[0, 1) one number for each sample, and
    e ~ N(0, stdevs^2). Its expectation is that of integrated gradients over the baselines.

    Args:
      logits_fn: normalised images (B, H, W, C) to logits (B, K).
      images: x, normalised.
      targets: t, in [0, K): one class, or one for each image.
      baselines: the distribution that b is drawn from, normalised.
      key: of the draws.
      samples: for each image, at least 1.
      stdevs: in units of the normalised image, at least 0.
      batch_size: images in the model at a time, which bounds memory.

    Raises:
      ValueError: a target is no class, baselines do not fit, or a number is out of its range.

    Source: Lundberg and Lee 2017, arXiv:1705.07874. Captum's GradientShap.
    """
    draw = draw_gradient_shap(key, images.shape, len(baselines), samples, stdevs)
    return apply_gradient_shap(
        logits_fn, images, targets, draw, baselines=baselines, batch_size=batch_size
    )


def draw_gradient_shap(
    key: Array, shape: tuple[int, ...], rows: int, samples: int, stdevs: float
) -> GradientShapDraw:
    """For images of this shape and this many rows of baselines."""
    of_noise, of_baseline, of_coefficient = jax.random.split(key, 3)
    size = (samples, shape[0])
    return GradientShapDraw(
        draw_noise_tunnel(of_noise, shape, samples, stdevs),
        jax.random.randint(of_baseline, size, 0, rows),
        jax.random.uniform(of_coefficient, size),
    )


def apply_gradient_shap(
    logits_fn: LogitsFn,
    images: Float[Array, "B H W C"],
    targets: Targets,
    draw: GradientShapDraw,
    *,
    baselines: Float[Array, "R H W C"],
    batch_size: int = BATCH_SIZE,
) -> Float[Array, "B H W C"]:
    """The mean over the samples of the draw.

    Raises:
      ValueError: as gradient_shap, or the draw is of another number of images.
    """
    function, targets = check(logits_fn, images, targets)
    if baselines.shape[1:] != images.shape[1:]:
        raise ValueError(
            f"baselines of shape {baselines.shape} do not fit images of {images.shape}: give "
            f"(R, {', '.join(map(str, images.shape[1:]))})"
        )
    samples, batch = draw.coefficient.shape
    if batch != len(images) or not samples:
        raise ValueError(
            f"a draw of {samples} sample(s) of {batch} image(s) for {len(images)} image(s): draw "
            f"at least one sample, for images of {images.shape}"
        )

    def part_of(rows: np.ndarray, counts: np.ndarray) -> tuple:
        weight = np.where(counts, 1 / samples, 0).astype(images.dtype)
        return rows // batch, rows % batch, weight

    constants = (function, images, baselines, targets, draw)
    zeros = jnp.zeros_like(images)
    return add_up(_add_part, zeros, constants, samples * batch, batch_size, part_of)


@jax.jit
def _add_part(total, function, images, baselines, targets, draw, sample, example, weight):
    image = images[example] + draw.noise[sample, example]
    baseline = baselines[draw.baseline[sample, example]]
    coefficient = draw.coefficient[sample, example][:, None, None, None]
    between = coefficient * image + (1 - coefficient) * baseline
    found = gradients(function, between, targets[example]) * (image - baseline)
    return total.at[example].add(weight[:, None, None, None] * found)
