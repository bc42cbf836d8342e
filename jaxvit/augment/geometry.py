"""Where the pixels come from: horizontal flips and random resized crops."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvit.shapes import Array, Bool, Float, Int

CROP_ATTEMPTS = 10  # torchvision's: how often it draws a crop before it takes the central one


class FlipDraw(NamedTuple):
    """flip[b]: whether image b is mirrored."""

    flip: Bool[Array, "B"]


class CropDraw(NamedTuple):
    """One crop an image, in whole pixels, inside the image."""

    top: Int[Array, "B"]
    left: Int[Array, "B"]
    height: Int[Array, "B"]
    width: Int[Array, "B"]


def draw_flip(key: jax.Array, batch_size: int, p: float) -> FlipDraw:
    """Each image with probability p in [0, 1]."""
    return FlipDraw(jax.random.bernoulli(key, p, (batch_size,)))


def apply_flip(
    images: Float[Array, "B H W C"], targets: Float[Array, "B K"], draw: FlipDraw
) -> tuple[Float[Array, "B H W C"], Float[Array, "B K"]]:
    """Mirrors left and right: x'[b, i, j] = x[b, i, W - 1 - j] where flip[b].

    Torch twin: torchvision.transforms.functional.hflip.
    """
    return jnp.where(draw.flip[:, None, None, None], images[:, :, ::-1], images), targets


def draw_random_resized_crop(
    key: jax.Array,
    batch_size: int,
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> CropDraw:
    """Crops of random area and aspect ratio, one an image.

    The area is uniform on `scale` times the image's, the logarithm of width / height uniform on
    the logarithms of `ratio`, the place uniform among those where the crop fits. The first of ten
    attempts that fits is taken; if none does, the largest central crop whose ratio is allowed.

    Args:
      scale: 0 < low <= high <= 1.
      ratio: 0 < low <= high.

    Source: torchvision.transforms.RandomResizedCrop, whose distribution this is.
    """
    key_area, key_ratio, key_top, key_left = jax.random.split(key, 4)
    shape = (batch_size, CROP_ATTEMPTS)
    area = height * width * jax.random.uniform(key_area, shape, minval=scale[0], maxval=scale[1])
    log_low, log_high = jnp.log(jnp.array(ratio))
    aspect = jnp.exp(jax.random.uniform(key_ratio, shape, minval=log_low, maxval=log_high))
    tries_width = jnp.round(jnp.sqrt(area * aspect)).astype(jnp.int32)
    tries_height = jnp.round(jnp.sqrt(area / aspect)).astype(jnp.int32)
    fits = (tries_width <= width) & (tries_height <= height)
    fits &= jnp.minimum(tries_width, tries_height) > 0
    first = jnp.argmax(fits, axis=1)[:, None]
    # The fallback shrinks one side until the ratio is allowed.
    whole = width / height
    last_width = width if whole <= ratio[1] else max(1, round(height * ratio[1]))
    last_height = height if whole >= ratio[0] else max(1, round(width / ratio[0]))
    any_fits = fits.any(axis=1)
    crop_width = jnp.where(any_fits, jnp.take_along_axis(tries_width, first, 1)[:, 0], last_width)
    crop_height = jnp.where(
        any_fits, jnp.take_along_axis(tries_height, first, 1)[:, 0], last_height
    )
    free_rows, free_columns = height - crop_height, width - crop_width
    top = jax.random.randint(key_top, (batch_size,), 0, free_rows + 1)
    left = jax.random.randint(key_left, (batch_size,), 0, free_columns + 1)
    return CropDraw(
        top=jnp.where(any_fits, top, free_rows // 2),
        left=jnp.where(any_fits, left, free_columns // 2),
        height=crop_height,
        width=crop_width,
    )


def apply_random_resized_crop(
    images: Float[Array, "B H W C"], targets: Float[Array, "B K"], draw: CropDraw
) -> tuple[Float[Array, "B H W C"], Float[Array, "B K"]]:
    """Enlarges each crop to the size of the image, bilinearly.

    x' = R x Q^T for every channel, with rows of R and Q from resize_weights: two small matrix
    products instead of a gather, which is what an accelerator does best.

    Torch twin: torchvision.transforms.functional.resized_crop.
    """
    height, width = images.shape[1:3]
    rows = resize_weights(draw.top, draw.height, height)  # (B, H, H)
    columns = resize_weights(draw.left, draw.width, width)  # (B, W, W)
    precise = jax.lax.Precision.HIGHEST  # TF32 would blur the image in its tenth bit
    images = jnp.einsum("boh,bhwc->bowc", rows, images, precision=precise)
    return jnp.einsum("bow,bhwc->bhoc", columns, images, precision=precise), targets


def resize_weights(start: Int[Array, "B"], length: Int[Array, "B"], size: int) -> Array:
    """How much each of `size` outputs takes from each input in [start, start + length).

    w[o, i] is proportional to max(0, 1 - |(i - start + 1/2) - (o + 1/2) length / size|), zero
    outside the crop, and every row sums to 1. The distance is formed in integers, over a common
    denominator, so that it is as exact at the far edge as at the near one.

    Args:
      start, length: in pixels; 1 <= length <= size, so this only ever enlarges, and the
        antialiasing of Pillow and PyTorch, which widens the filter when shrinking, changes nothing.
      size: of inputs and outputs, at most 2^15.

    Returns:
      (B, size, size), outputs by inputs.
    """
    inputs = jnp.arange(size) - start[:, None, None]  # (B, 1, size), counted from the crop's edge
    length = length[:, None, None]
    outputs = jnp.arange(size)[:, None]  # (size, 1)
    distance = jnp.abs((2 * inputs + 1) * size - (2 * outputs + 1) * length) / (2 * size)
    inside = (inputs >= 0) & (inputs < length)
    weights = jnp.where(inside, jnp.maximum(1 - distance, 0), 0)
    return weights / weights.sum(axis=-1, keepdims=True)
