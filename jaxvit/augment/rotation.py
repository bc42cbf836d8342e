"""Random rotation about the centre."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxvit.shapes import Array, Float


class RotationDraw(NamedTuple):
    """degrees[b]: the angle of image b, counter-clockwise."""

    degrees: Float[Array, "B"]


def draw_rotation(key: jax.Array, batch_size: int, degrees: float) -> RotationDraw:
    """degrees[b] ~ U(-degrees, degrees), independently for each image.

    Torch twin: torchvision.transforms.RandomRotation.
    """
    drawn = jax.random.uniform(key, (batch_size,), minval=-degrees, maxval=degrees)
    return RotationDraw(drawn)


def apply_rotation(
    images: Float[Array, "B H W C"],
    targets: Float[Array, "B K"],
    draw: RotationDraw,
    fill: Float[Array, "C"],
    interpolation: Literal["nearest", "bilinear"] = "nearest",
) -> tuple[Float[Array, "B H W C"], Float[Array, "B K"]]:
    """Each pixel takes the value at its position, turned back about the centre of the image.

    With (x, y) from the centre, the source of a pixel is (cos a x - sin a y, sin a x + cos a y) for
    the angle a. Nearest takes the pixel whose centre is closest (of equals the even one); bilinear
    weighs the four around it, with fill for those outside, and blends with fill once more by the
    share that lies inside, as torchvision does. The size stays.

    Args:
      images: normalised or raw.
      targets: returned unchanged.
      draw: see RotationDraw.
      fill: for each channel, of what comes from outside.
      interpolation: torchvision's default is nearest.

    Torch twin: torchvision.transforms.functional.rotate, of tensors.
    """
    height, width = images.shape[1:3]
    ys = jnp.arange(height, dtype=jnp.float32)[:, None] - (height - 1) / 2
    xs = jnp.arange(width, dtype=jnp.float32)[None] - (width - 1) / 2

    def at(image: Array, rows: Array, columns: Array) -> tuple[Array, Array]:
        """The pixels, and whether they are inside."""
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        rows = jnp.clip(rows, 0, height - 1).astype(jnp.int32)
        columns = jnp.clip(columns, 0, width - 1).astype(jnp.int32)
        return image[rows, columns], inside[..., None]

    def rotated(image: Array, degrees: Array) -> Array:
        angle = jnp.deg2rad(degrees)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        x = cos * xs - sin * ys + (width - 1) / 2
        y = sin * xs + cos * ys + (height - 1) / 2
        if interpolation == "nearest":
            pixels, inside = at(image, jnp.round(y), jnp.round(x))
            return jnp.where(inside, pixels, fill)
        total = covered = 0.0
        for dy in (0, 1):
            for dx in (0, 1):
                row, column = jnp.floor(y) + dy, jnp.floor(x) + dx
                weight = ((1 - jnp.abs(y - row)) * (1 - jnp.abs(x - column)))[..., None]
                pixels, inside = at(image, row, column)
                total += weight * jnp.where(inside, pixels, 0.0)
                covered += weight * inside
        return covered * total + (1 - covered) * fill

    return jax.vmap(rotated)(images, draw.degrees), targets
