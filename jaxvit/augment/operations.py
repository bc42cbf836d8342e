"""The fourteen operations of RandAugment and TrivialAugment, each on one image of bytes.

Each takes an image, uint8 (H, W, C) with C of 1 or 3, and a magnitude m, and computes what
torchvision computes of a uint8 tensor, to the byte. torchvision rounds each product and each sum to
float32 and then cuts the fraction off, so the last bit of a sum can decide about a byte. The one
exception: where a source of shear or rotation lies in the middle between two pixels, the rounding
of torch's matmul decides.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvit.augment.colour import GREY
from jaxvit.augment.per_image import per_image
from jaxvit.shapes import Array, Bool, Float, Int, UInt8

LEVELS = 31  # magnitudes of an operation, from the weakest to the strongest


class OperationDraw(NamedTuple):
    """What each image gets.

    Attributes:
      operation: a place in OPERATIONS.
      level: which of the operation's magnitudes, in [0, LEVELS).
      negative: whether the magnitude is negated; only of a SIGNED operation.
    """

    operation: Int[Array, "*N"]
    level: Int[Array, "*N"]
    negative: Bool[Array, "*N"]


# Geometry: each pixel comes from matrix (x, y, 1), with (x, y) its place from the image's centre.


def identity(image: UInt8[Array, "H W C"], magnitude: Array) -> UInt8[Array, "H W C"]:
    """The image."""
    return image


def shear_x(image: UInt8[Array, "H W C"], magnitude: Array) -> UInt8[Array, "H W C"]:
    """From x + m y, about the upper left corner."""
    return moved(image, ((1, magnitude, magnitude * (image.shape[0] / 2)), (0, 1, 0)))


def shear_y(image: UInt8[Array, "H W C"], magnitude: Array) -> UInt8[Array, "H W C"]:
    """From y + m x, about the upper left corner."""
    return moved(image, ((1, 0, 0), (magnitude, 1, magnitude * (image.shape[1] / 2))))


def translate_x(image: UInt8[Array, "H W C"], magnitude: Array) -> UInt8[Array, "H W C"]:
    """To the right by m pixels, whose fraction is cut off."""
    return moved(image, ((1, 0, -jnp.trunc(magnitude)), (0, 1, 0)))


def translate_y(image: UInt8[Array, "H W C"], magnitude: Array) -> UInt8[Array, "H W C"]:
    """Down by m pixels, whose fraction is cut off."""
    return moved(image, ((1, 0, 0), (0, 1, -jnp.trunc(magnitude))))


def rotate(image: UInt8[Array, "H W C"], magnitude: Array) -> UInt8[Array, "H W C"]:
    """Counter-clockwise about the centre by m degrees."""
    sin = jnp.sin(jnp.deg2rad(magnitude))
    cos = jnp.sin(jnp.deg2rad(90 - jnp.abs(magnitude)))  # exactly 0 at a right angle
    return moved(image, ((cos, -sin, 0), (sin, cos, 0)))


def moved(image: UInt8[Array, "H W C"], matrix) -> UInt8[Array, "H W C"]:
    """Each pixel from the one that is nearest to its source; black where that is outside.

    Of a source in the middle between two pixels, the even one is taken. Sources are computed in
    halves of the image, as torch.nn.functional.grid_sample has them: its rounding decides what is
    in the middle.
    """
    height, width = image.shape[:2]
    ys = jnp.arange(height, dtype=jnp.float32)[:, None] - (height - 1) / 2
    xs = jnp.arange(width, dtype=jnp.float32)[None] - (width - 1) / 2

    def source(row, size: int) -> Array:
        by_x, by_y, offset = (jnp.float32(x) / (size / 2) for x in row)
        halves = xs * by_x + ys * by_y + offset
        return jnp.round(((halves + 1) * size - 1) / 2).astype(jnp.int32)

    columns, rows = source(matrix[0], width), source(matrix[1], height)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    pixels = image[jnp.clip(rows, 0, height - 1), jnp.clip(columns, 0, width - 1)]
    return jnp.where(inside[..., None], pixels, 0).astype(jnp.uint8)


# Blends: (1 + m) image - m other, cut to [0, 255].


def brightness(image: UInt8[Array, "H W C"], magnitude: Array) -> UInt8[Array, "H W C"]:
    """Blend with black."""
    return blend(image, 0.0, magnitude)


def colour(image: UInt8[Array, "H W C"], magnitude: Array) -> UInt8[Array, "H W C"]:
    """Blend with grey; an image of one channel stays as it is."""
    if image.shape[-1] == 1:
        return image
    return blend(image, product(grey(image), -magnitude), magnitude)


def contrast(image: UInt8[Array, "H W C"], magnitude: Array) -> UInt8[Array, "H W C"]:
    """Blend with the mean grey of the image."""
    total = grey(image).sum(dtype=jnp.int32)  # exact up to 2,900 x 2,900 pixels
    # No total is below 0, but the compiler does not know it. So it neither multiplies by 1 / n in
    # place of dividing by n, nor rounds the last product and its sum as one; XLA's CPU compiler
    # does both through jax.lax.optimization_barrier.
    number = jnp.where(total < 0, 1, jnp.float32(image.shape[0] * image.shape[1]))
    mean = total.astype(jnp.float32) / number
    return blend(image, jnp.where(total < 0, 0, mean * -magnitude), magnitude)


def sharpness(image: UInt8[Array, "H W C"], magnitude: Array) -> UInt8[Array, "H W C"]:
    """Blend with the image, smoothed by the kernel (1 1 1, 1 5 1, 1 1 1) / 13 inside its border."""
    height, width = image.shape[:2]
    if min(height, width) <= 2:
        return image
    whole = image.astype(jnp.int32)
    total = 4 * whole[1:-1, 1:-1] + sum(
        whole[row : row + height - 2, column : column + width - 2]
        for row in range(3)
        for column in range(3)
    )
    smooth = ((2 * total + 13) // 26).astype(jnp.uint8)  # rounded; there are no ties over 13
    smooth = image.at[1:-1, 1:-1].set(smooth)
    return blend(image, product(smooth, -magnitude), magnitude)


def blend(
    image: UInt8[Array, "H W C"], rest: Array | float, magnitude: Array
) -> UInt8[Array, "H W C"]:
    """(1 + m) image + rest, cut to [0, 255] and then to whole numbers."""
    return jnp.clip(product(image, 1 + magnitude) + rest, 0, 255).astype(jnp.uint8)


def product(pixels: UInt8[Array, "..."], factor: Array | float) -> Float[Array, "..."]:
    """pixels factor, rounded to float32 before anything is added to it.

    The factor is 24 bits times a power of two. The bits times a byte are a whole number below 2^32,
    which is rounded as it becomes a float; a power of two then rounds nothing. So the compiler may
    contract this with the next sum (fused multiply-add), and the result stays.
    """
    bits = jax.lax.bitcast_convert_type(jnp.float32(factor), jnp.uint32)
    mantissa = bits & 0x7FFFFF | 0x800000
    power = jax.lax.bitcast_convert_type(bits & jnp.uint32(0xFF800000), jnp.float32) * 2.0**-23
    return (mantissa * pixels.astype(jnp.uint32)).astype(jnp.float32) * power


def grey(image: UInt8[Array, "H W C"]) -> UInt8[Array, "H W 1"]:
    """.2989 R + .587 G + .114 B, with the fraction cut off; one channel is its own grey."""
    if image.shape[-1] == 1:
        return image
    red, green, blue = (product(image[..., c : c + 1], GREY[c]) for c in range(3))
    return (red + green + blue).astype(jnp.uint8)


# Tables: each byte becomes another.


def posterize(image: UInt8[Array, "H W C"], magnitude: Array) -> UInt8[Array, "H W C"]:
    """Keeps that many of the upper bits, of 8."""
    return image & (0xFF << (8 - magnitude.astype(jnp.int32))).astype(jnp.uint8)


def solarize(image: UInt8[Array, "H W C"], magnitude: Array) -> UInt8[Array, "H W C"]:
    """255 - x from the magnitude upwards."""
    return jnp.where(image >= magnitude, 255 - image, image)


def auto_contrast(image: UInt8[Array, "H W C"], magnitude: Array) -> UInt8[Array, "H W C"]:
    """Stretches each channel from its least and greatest values to 0 and 255."""
    low, high = (f(image, axis=(0, 1)).astype(jnp.float32) for f in (jnp.min, jnp.max))
    scale = 255 * (1 / jnp.where(high > low, high - low, 1))  # both rounded, as torch has it
    stretched = jnp.clip((image.astype(jnp.float32) - low) * scale, 0, 255).astype(jnp.uint8)
    return jnp.where(high > low, stretched, image)


def equalize(image: UInt8[Array, "H W C"], magnitude: Array) -> UInt8[Array, "H W C"]:
    """Makes the values of each channel as frequent as each other, as far as that goes.

    With c[v] pixels below v and a step s of 1/255 of all pixels but those of the greatest value,
    v becomes (c[v] + s // 2) // s. A channel with s = 0 stays as it is.
    """

    def channel(pixels: Array) -> Array:
        counts = jnp.zeros(256, jnp.int32).at[pixels].add(1)
        step = (pixels.size - counts[pixels.max()]) // 255
        below = jnp.cumsum(counts) - counts
        table = jnp.clip((below + step // 2) // jnp.maximum(step, 1), 0, 255)
        return jnp.where(step == 0, pixels, table[pixels].astype(jnp.uint8))

    return jnp.stack([channel(image[..., c]) for c in range(image.shape[-1])], axis=-1)


OPERATIONS = (
    identity, shear_x, shear_y, translate_x, translate_y, rotate, brightness, colour, contrast,
    sharpness, posterize, solarize, auto_contrast, equalize,
)  # fmt: skip
SIGNED = np.array([operation in OPERATIONS[1:10] for operation in OPERATIONS])


def apply_operations(
    images: UInt8[Array, "B H W C"], draw: OperationDraw, magnitudes: np.ndarray
) -> UInt8[Array, "B H W C"]:
    """One operation for each image.

    Args:
      images: bytes.
      draw: with arrays of shape (B,).
      magnitudes: float32 (14, LEVELS), a row for each of OPERATIONS.
    """
    magnitude = jnp.asarray(magnitudes)[draw.operation, draw.level]
    negated = draw.negative & jnp.asarray(SIGNED)[draw.operation]
    return per_image(
        lambda image, operation, magnitude: jax.lax.switch(operation, OPERATIONS, image, magnitude),
        images,
        draw.operation,
        jnp.where(negated, -magnitude, magnitude),
    )


def magnitude_table(
    shear: float,
    columns: float,
    rows: float,
    degrees: float,
    blend: float,
    bits: int,
) -> np.ndarray:
    """Magnitudes in equal steps from none to the strongest, float32 (14, LEVELS).

    Args:
      shear: strongest slope.
      columns, rows: strongest translations, in pixels.
      degrees: strongest rotation.
      blend: strongest share of brightness, colour, contrast and sharpness.
      bits: how many of 8 bits the strongest posterisation takes away.
    """
    none = np.zeros(LEVELS, np.float32)
    taken = np.round(np.arange(LEVELS) / ((LEVELS - 1) / bits))
    rising = [shear, shear, columns, rows, degrees, blend, blend, blend, blend]
    return np.stack([
        none, *(linspace(0, end) for end in rising), (8 - taken).astype(np.float32),
        linspace(255, 0), none, none,
    ])  # fmt: skip


def linspace(first: float, last: float) -> np.ndarray:
    """LEVELS values in equal steps, to the bit those of torch.linspace.

    It counts steps of float32 from the nearer end, and rounds a product and its sum as one.
    """
    first, last = np.float32(first), np.float32(last)
    step = np.float64((last - first) / np.float32(LEVELS - 1))
    places = np.arange(LEVELS)
    from_last = last - step * (LEVELS - 1 - places)
    return np.where(places < LEVELS // 2, first + step * places, from_last).astype(np.float32)
