"""Geometric augmentation: horizontal flips and random resized crops."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvit.shapes import Array, Bool, Float, Int

CROP_ATTEMPTS = 10  # torchvision's number of draws before it takes the central crop


class FlipDraw(NamedTuple):
    """flip[b]: whether image b is mirrored horizontally."""

    flip: Bool[Array, "B"]


class CropDraw(NamedTuple):
    """One crop per image, in integer pixels, inside the image; height and width at least 1."""

    top: Int[Array, "B"]
    left: Int[Array, "B"]
    height: Int[Array, "B"]
    width: Int[Array, "B"]


def draw_flip(key: jax.Array, batch_size: int, p: float) -> FlipDraw:
    """flip[b] ~ Bernoulli(p), independently for each image.

    Args:
      key: of jax.random.
      batch_size: B.
      p: in [0, 1].

    Torch twin: torchvision.transforms.RandomHorizontalFlip.
    """
    return FlipDraw(jax.random.bernoulli(key, p, (batch_size,)))


def apply_flip(
    images: Float[Array, "B H W C"], targets: Float[Array, "B K"], draw: FlipDraw
) -> tuple[Float[Array, "B H W C"], Float[Array, "B K"]]:
    """Reverses the columns: x'[b, i, j] = x[b, i, W - 1 - j] where flip[b], x elsewhere.

    Args:
      images: normalised or raw.
      targets: returned unchanged.
      draw: see FlipDraw.

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
    """Crops of random area, aspect ratio and position, one per image.

    width = round(sqrt(area aspect)) and height = round(sqrt(area / aspect)), with
    area = H W uniform(scale) and log aspect uniform on [log ratio[0], log ratio[1]].
    Area and aspect are drawn ten times, and the first crop that fits into the image is taken. Its
    position is uniform over all positions inside the image. If none of the ten fits, the crop is
    the largest central one whose aspect is in `ratio`.

    Args:
      key: of jax.random.
      batch_size: B.
      height, width: size H, W of the images, in pixels.
      scale: range of area / (H W); 0 < low <= high <= 1.
      ratio: range of the aspect width / height; 0 < low <= high.

    Source: torchvision.transforms.RandomResizedCrop, which has the same distribution.
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
    # The central crop: one side is reduced until the aspect is in `ratio`.
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
    images: Float[Array, "B H W C"],
    targets: Float[Array, "B K"],
    draw: CropDraw,
    size: int | None = None,
) -> tuple[Float[Array, "B S T C"], Float[Array, "B K"]]:
    """Resizes each crop by bilinear interpolation, with antialiasing where it is reduced.

    x' = R x Q^T for every channel, with R (S, H) and Q (T, W) from resize_weights. Two matmuls are
    used instead of a gather, because accelerators compute matmuls faster.

    Args:
      images: normalised or raw.
      targets: returned unchanged.
      draw: see CropDraw.
      size: S = T, in pixels; None for S = H and T = W.

    Torch twin: torchvision.transforms.functional.resized_crop.
    """
    height, width = images.shape[1:3]
    rows = resize_weights(draw.top, draw.height, height, size or height)  # (B, S, H)
    columns = resize_weights(draw.left, draw.width, width, size or width)  # (B, T, W)
    precise = jax.lax.Precision.HIGHEST  # TF32 would round pixels to a 10-bit mantissa
    images = jnp.einsum("boh,bhwc->bowc", rows, images, precision=precise)
    return jnp.einsum("bow,bhwc->bhoc", columns, images, precision=precise), targets


def resized(images: Float[Array, "B H W C"], size: int) -> Float[Array, "B S S C"]:
    """Whole images at another size, by the same interpolation; images of that size stay."""
    batch, height, width, _ = images.shape
    if height == width == size:
        return images
    start = jnp.zeros(batch, jnp.int32)
    whole = CropDraw(start, start, start + height, start + width)
    return apply_random_resized_crop(images, jnp.zeros((batch, 1)), whole, size)[0]


def resize_weights(
    start: Int[Array, "B"], length: Int[Array, "B"], inputs: int, outputs: int
) -> Array:
    """Weights of bilinear interpolation from the pixels [start, start + length) to `outputs`.

    w[o, i] is proportional to max(0, 1 - |(i - start + 1/2) - (o + 1/2) length / outputs| / r)
    inside the crop and 0 outside, with r = max(1, length / outputs): where a crop is reduced the
    filter is widened, as Pillow's and PyTorch's antialiasing do. Every row sums to 1. The distance
    is computed in integers with a common denominator, so that its rounding error does not grow with
    the position.

    Args:
      start: first pixel of the crop; 0 <= start <= inputs - length.
      length: pixels of the crop; 1 <= length <= inputs.
      inputs, outputs: numbers of pixels, at most 2^15 so that the integers fit into int32.

    Returns:
      float32 (B, outputs, inputs).

    Example:
      >>> resize_weights(jnp.array([1]), jnp.array([2]), 4, 4)[0].tolist()  # pixels 1 and 2
      [[0.0, 1.0, 0.0, 0.0], [0.0, 0.75, 0.25, 0.0], [0.0, 0.25, 0.75, 0.0], [0.0, 0.0, 1.0, 0.0]]
    """
    places = jnp.arange(inputs) - start[:, None, None]  # (B, 1, inputs), relative to the crop
    length = length[:, None, None]
    targets = jnp.arange(outputs)[:, None]  # (outputs, 1)
    # A crop of an image no larger than the output is never reduced.
    widest = outputs if inputs <= outputs else jnp.maximum(outputs, length)
    distance = jnp.abs((2 * places + 1) * outputs - (2 * targets + 1) * length) / (2 * widest)
    inside = (places >= 0) & (places < length)
    weights = jnp.where(inside, jnp.maximum(1 - distance, 0), 0)
    return weights / weights.sum(axis=-1, keepdims=True)
