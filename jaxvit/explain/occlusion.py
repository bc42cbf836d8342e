"""Occlusion: what a logit loses when a window of the image is covered."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvit.explain.parts import BATCH_SIZE, collect
from jaxvit.explain.score import (
    LogitsFn,
    Targets,
    broadcast_baselines,
    check,
    jitted_scores,
    scores,
)
from jaxvit.shapes import Array, Float


def occlusion(
    logits_fn: LogitsFn,
    images: Float[Array, "B H W C"],
    targets: Targets,
    *,
    window: int | tuple[int, int],
    strides: int | tuple[int, int],
    baselines: float | Array = 0.0,
    batch_size: int = BATCH_SIZE,
) -> Float[Array, "B H W C"]:
    """F_t(x) - F_t(x with a window of baselines), averaged over the windows that cover a pixel.

    Windows cover all channels. There are ceil((H - h) / s) + 1 rows of them, and columns likewise;
    the last ones are cut at the border.

    Args:
      logits_fn: normalised images (B, H, W, C) to logits (B, K).
      images: x, normalised.
      targets: t, in [0, K): one class, or one for each image.
      window: height and width, in pixels, or one number for both.
      strides: from one window to the next, likewise; at most the window, so that every pixel is
        covered.
      baselines: what a window shows, normalised; 0 is the mean colour. A number, an image, or one
        for each.
      batch_size: images in the model at a time, which bounds memory.

    Returns:
      The same for all channels of a pixel.

    Raises:
      ValueError: a target is no class, baselines do not fit, or a window or stride is out of range.

    Source: Zeiler and Fergus 2014, arXiv:1311.2901. Captum's Occlusion.
    """
    function, targets = check(logits_fn, images, targets)
    baselines = broadcast_baselines(baselines, images)
    sizes = [_covers(*each) for each in zip(
        ("height", "width"), images.shape[1:3], _pair(window), _pair(strides), strict=True
    )]  # fmt: skip
    rows, columns = (each.astype(images.dtype) for each in sizes)
    batch, windows = len(images), len(rows) * len(columns)
    whole = jitted_scores(function, images, targets)

    def part_of(part: np.ndarray, _) -> tuple:
        number = part // batch
        return rows[number // len(columns)], columns[number % len(columns)], part % batch

    constants = (function, images, baselines, targets)
    occluded = collect(_occluded, constants, windows * batch, batch_size, part_of)
    return _spread(whole - occluded.reshape(windows, batch), rows, columns, images)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, (int, np.integer)) else tuple(value)


def _covers(name: str, length: int, window: int, stride: int) -> np.ndarray:
    """(windows, length): whether a window covers a row, or a column."""
    if not 1 <= window <= length:
        raise ValueError(f"a window of {name} {window} for images of {length}: give 1 to {length}")
    if stride < 1 or (stride > window and window < length):
        raise ValueError(
            f"a stride of {stride} for windows of {name} {window}: give 1 to {window}, so that "
            "every pixel is covered"
        )
    first = stride * np.arange(-(-(length - window) // stride) + 1)[:, None]
    place = np.arange(length)
    return (place >= first) & (place < first + window)


@jax.jit
def _occluded(function, images, baselines, targets, rows, columns, example):
    """Scores of these examples with their windows covered."""
    covered = (rows[:, :, None] * columns[:, None, :])[..., None] > 0
    return scores(
        function, jnp.where(covered, baselines[example], images[example]), targets[example]
    )


@jax.jit
def _spread(losses, rows, columns, images):
    """The mean loss of the windows that cover each pixel."""
    losses = losses.reshape(len(rows), len(columns), -1)
    total = jnp.einsum("ih,jw,ijb->bhw", rows, columns, losses, precision="highest")
    number = rows.sum(0)[:, None] * columns.sum(0)
    return jnp.broadcast_to((total / number)[..., None], images.shape)
