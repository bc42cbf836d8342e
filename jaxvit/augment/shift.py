"""Random crops of a padded image, as for CIFAR-10: shifts by a few pixels."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvit.shapes import Array, Float, Int


class ShiftDraw(NamedTuple):
    """The corner of each image's crop in the padded image, in [0, 2 padding]."""

    top: Int[Array, "B"]
    left: Int[Array, "B"]


def draw_shift(key: jax.Array, batch_size: int, padding: int) -> ShiftDraw:
    """top and left ~ U{0, ..., 2 padding}, independently for each image.

    Args:
      key: of jax.random.
      batch_size: B.
      padding: in pixels, at least 0.

    Torch twin: torchvision.transforms.RandomCrop(size, padding), of images of that size.
    """
    keys = jax.random.split(key)
    return ShiftDraw(
        *(jax.random.randint(each, (batch_size,), 0, 2 * padding + 1) for each in keys)
    )


def apply_shift(
    images: Float[Array, "B H W C"],
    targets: Float[Array, "B K"],
    draw: ShiftDraw,
    padding: int,
    fill: Float[Array, "C"],
) -> tuple[Float[Array, "B H W C"], Float[Array, "B K"]]:
    """x'[b, i, j] = x[b, i + top - padding, j + left - padding], or fill outside of the image.

    Args:
      images: normalised or raw.
      targets: returned unchanged.
      draw: see ShiftDraw.
      padding: as it was drawn with.
      fill: for each channel: torchvision fills with black before it normalises.

    Torch twin: torchvision.transforms.functional.pad, then crop.
    """
    height, width = images.shape[1:3]
    rows = jnp.arange(height) + draw.top[:, None] - padding  # (B, H)
    columns = jnp.arange(width) + draw.left[:, None] - padding
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[
        :, None, :
    ]

    def taken(image: Array, rows: Array, columns: Array) -> Array:
        return image[jnp.clip(rows, 0, height - 1)][:, jnp.clip(columns, 0, width - 1)]

    shifted = jax.vmap(taken)(images, rows, columns)
    return jnp.where(inside[..., None], shifted, fill), targets
