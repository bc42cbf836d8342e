"""Cutout: sets squares of an image to 0."""

import jax
import jax.numpy as jnp

from jaxvit.augment.boxes import Box, box_mask, draw_boxes
from jaxvit.shapes import Array, Float

CutoutDraw = Box  # boxes of shape (B, n_holes)


def draw_cutout(
    key: jax.Array, batch_size: int, height: int, width: int, n_holes: int, length: int
) -> CutoutDraw:
    """n_holes squares per image, with uniform centres, clipped to the image: see draw_boxes.

    Args:
      key: of jax.random.
      batch_size: B.
      height, width: size of the images, in pixels.
      n_holes: holes per image, at least 0.
      length: side of a hole before clipping, in pixels, at least 0.

    Returns:
      Boxes with edges of shape (B, n_holes).
    """
    side = jnp.full((batch_size, n_holes), length)
    return draw_boxes(key, side, side, height, width)


def apply_cutout(
    images: Float[Array, "B H W C"], targets: Float[Array, "B K"], draw: CutoutDraw
) -> tuple[Float[Array, "B H W C"], Float[Array, "B K"]]:
    """Sets every pixel inside a hole to 0.

    x' = 0 where a hole covers the pixel, x elsewhere. The value 0 is black before normalisation and
    the mean colour after it. The pipeline applies Cutout after normalisation.

    Args:
      images: of any float dtype, which is kept.
      targets: returned unchanged.
      draw: boxes with edges of shape (B, n_holes).

    Source: DeVries and Taylor 2017, arXiv:1708.04552. Torch twin: torch_ref/cutout.py.
    """
    covered = box_mask(draw, images.shape[1], images.shape[2]).any(axis=1)  # (B, H, W)
    return jnp.where(covered[..., None], 0.0, images), targets
