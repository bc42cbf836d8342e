"""Axis-aligned boxes of pixels, as Cutout and CutMix use them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvit.shapes import Array, Bool, Int


class Box(NamedTuple):
    """Boxes of rows top to bottom - 1 and columns left to right - 1, in pixels.

    All four edges have the same shape, with one box per element. A box is empty where bottom equals
    top or right equals left.
    """

    top: Int[Array, "..."]
    left: Int[Array, "..."]
    bottom: Int[Array, "..."]
    right: Int[Array, "..."]

    @property
    def area(self) -> Int[Array, "..."]:
        """(bottom - top) (right - left), in pixels."""
        return (self.bottom - self.top) * (self.right - self.left)


def draw_boxes(
    key: jax.Array,
    box_height: Int[Array, "*boxes"],
    box_width: Int[Array, "*boxes"],
    height: int,
    width: int,
) -> Box:
    """Boxes whose centres are uniform over the pixels of the image, clipped to the image.

    top = clip(y - box_height // 2, 0, height) and bottom = clip(y - box_height // 2 + box_height,
    0, height), with y uniform on {0, ..., height - 1}; columns likewise.

    Args:
      key: of jax.random.
      box_height, box_width: sides before clipping, in pixels, at least 0; one box per element.
      height, width: size of the image, in pixels.
    """
    key_y, key_x = jax.random.split(key)
    top = jax.random.randint(key_y, box_height.shape, 0, height) - box_height // 2
    left = jax.random.randint(key_x, box_width.shape, 0, width) - box_width // 2
    return Box(
        top=jnp.clip(top, 0, height),
        left=jnp.clip(left, 0, width),
        bottom=jnp.clip(top + box_height, 0, height),
        right=jnp.clip(left + box_width, 0, width),
    )


def box_mask(box: Box, height: int, width: int) -> Bool[Array, "*boxes H W"]:
    """mask[..., i, j]: whether pixel (i, j) is inside the box.

    Args:
      box: edges in pixels, of any shape.
      height, width: size H, W of the image, in pixels.

    Example:
      >>> box = Box(*(jnp.array(edge) for edge in (1, 0, 3, 2)))
      >>> box_mask(box, 3, 4).astype(int).tolist()
      [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]
    """
    rows = jnp.arange(height)
    columns = jnp.arange(width)
    in_rows = (rows >= box.top[..., None]) & (rows < box.bottom[..., None])  # (..., H)
    in_columns = (columns >= box.left[..., None]) & (columns < box.right[..., None])  # (..., W)
    return in_rows[..., :, None] & in_columns[..., None, :]
