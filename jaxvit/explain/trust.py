"""How far an explanation can be trusted: curves of deletion and insertion, and checks."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvit.explain.parts import BATCH_SIZE, collect
from jaxvit.explain.score import LogitsFn, Targets, broadcast_baselines, check
from jaxvit.shapes import Array, Bool, Float


class Curve(NamedTuple):
    """What a classifier says while pixels are taken away, or put in.

    Attributes:
      share: of the pixels, (steps + 1,) from 0 to 1.
      probability: of the target, (B, steps + 1).
      area: under the curve, (B,) in [0, 1].
    """

    share: np.ndarray
    probability: np.ndarray
    area: np.ndarray


def pixel_curve(
    logits_fn: LogitsFn,
    images: Float[Array, "B H W C"],
    targets: Targets,
    importance: Float[Array, "B h w"],
    *,
    kind: Literal["deletion", "insertion"],
    baselines: float | Array = 0.0,
    steps: int = 28,
    batch_size: int = BATCH_SIZE,
) -> Curve:
    """The probability of the target with the most important pixels deleted, or with them alone.

    deletion: from x to the baseline, the most important pixels first; a good explanation has a
    small area. insertion: from the baseline to x; a good explanation has a large area. Of equally
    important pixels the upper, left one comes first.

    Args:
      logits_fn: normalised images (B, H, W, C) to logits (B, K).
      images: x, normalised.
      targets: in [0, K): one class, or one for each image.
      importance: (B, H, W): what raises the target most comes first; signed values by their
        sign.
      kind: see above.
      baselines: what is shown in place of a pixel, normalised: 0 is the mean colour. For insertion,
        blurred images keep the model on images like those it knows.
      steps: in which all pixels change; at least 1.
      batch_size: images in the model at a time, which bounds memory.

    Raises:
      ValueError: there is no such kind, steps is below 1, or shapes do not fit.

    Source: Petsiuk et al. 2018, arXiv:1806.07421, section 3.3.
    """
    function, targets = check(logits_fn, images, targets)
    baselines = broadcast_baselines(baselines, images)
    if kind not in ("deletion", "insertion"):
        raise ValueError(f"unknown kind {kind!r}: choose deletion or insertion")
    if steps < 1:
        raise ValueError(f"steps {steps} is too small: give at least 1")
    if importance.shape != images.shape[:3]:
        raise ValueError(
            f"importance of shape {importance.shape} does not fit images of {images.shape}: give "
            f"{images.shape[:3]}, such as attributions summed over channels"
        )
    start, end = (images, baselines) if kind == "deletion" else (baselines, images)
    pixels = importance[0].size
    ranks = _ranks(importance.reshape(len(images), -1)).reshape(importance.shape)
    share = np.arange(steps + 1) / steps
    numbers = np.round(share * pixels)

    def part_of(rows: np.ndarray, _) -> tuple:
        return rows // (steps + 1), numbers[rows % (steps + 1)]

    constants, count = (function, start, end, targets, ranks), len(images) * (steps + 1)
    flat = collect(_probabilities, constants, count, batch_size, part_of)
    probability = np.asarray(flat).reshape(len(images), steps + 1)
    return Curve(share, probability, np.trapezoid(probability, share, axis=1))


@jax.jit
def _ranks(importance):
    """0 for the most important."""
    order = jnp.argsort(-importance, axis=1, stable=True)
    return jnp.argsort(order, axis=1)


@jax.jit
def _probabilities(function, start, end, targets, ranks, example, number):
    changed = (ranks[example] < number[:, None, None])[..., None]
    shown = jnp.where(changed, end[example], start[example])
    chosen = targets[example][:, None]
    return jnp.take_along_axis(jax.nn.softmax(function(shown)), chosen, axis=1)[:, 0]


def permuted(variables: dict, key: Array) -> dict:
    """Variables whose parameters are each permuted at random; statistics stay.

    The model keeps the sizes of its weights and loses what it has learned. An explanation of the
    model should change with it.

    Source: Adebayo et al. 2018, arXiv:1810.03292.
    """
    leaves, tree = jax.tree.flatten(variables["params"])
    keys = jax.random.split(key, len(leaves))
    drawn = [
        jax.random.permutation(each, leaf.ravel()).reshape(leaf.shape)
        for each, leaf in zip(keys, leaves, strict=True)
    ]
    return variables | {"params": jax.tree.unflatten(tree, drawn)}


def rank_correlation(a: Float[Array, "B *S"], b: Float[Array, "B *S"]) -> Float[Array, "B"]:
    """Spearman's, of two explanations of each image: 1 for the same order, 0 for none."""
    ranks = [_mean_ranks(np.asarray(each).reshape(len(each), -1)) for each in (a, b)]
    x, y = (each - each.mean(axis=1, keepdims=True) for each in ranks)
    below = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    return (x * y).sum(axis=1) / np.where(below > 0, below, 1)


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata  # imported here: it takes half a second

    return rankdata(values, axis=1)


def pointing_game(
    importance: Float[Array, "B H W"], inside: Bool[Array, "B H W"]
) -> Bool[Array, "B"]:
    """Whether the most important pixel of each image lies in its object.

    Args:
      importance: of each pixel.
      inside: whether a pixel belongs to the object, such as a trimap or a box.

    Source: Zhang et al. 2016, arXiv:1608.00507.
    """
    flat = np.asarray(importance).reshape(len(importance), -1)
    return np.asarray(inside).reshape(flat.shape)[np.arange(len(flat)), flat.argmax(axis=1)]
