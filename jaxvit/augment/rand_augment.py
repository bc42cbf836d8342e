"""RandAugment: a number of random operations of one strength for each image."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvit.augment.operations import (
    OPERATIONS,
    OperationDraw,
    apply_operations,
    magnitude_table,
)
from jaxvit.shapes import Array, Float, UInt8


def draw_rand_augment(
    key: jax.Array, batch_size: int, num_ops: int, magnitude: int
) -> OperationDraw:
    """Independently for each place and image, uniform: an operation of 14, and a sign.

    Args:
      key: of jax.random.
      batch_size: B.
      num_ops: N operations for each image, one after the other; the same one may come again.
      magnitude: the level of all, in [0, 30].

    Returns:
      Arrays of shape (N, B).

    Source: Cubuk et al. 2019, arXiv:1909.13719. Torch twin: torchvision.transforms.RandAugment.
    """
    keys, shape = jax.random.split(key), (num_ops, batch_size)
    return OperationDraw(
        jax.random.randint(keys[0], shape, 0, len(OPERATIONS)),
        jnp.full(shape, magnitude),
        jax.random.bernoulli(keys[1], 0.5, shape),
    )


def apply_rand_augment(
    images: UInt8[Array, "B H W C"], targets: Float[Array, "B K"], draw: OperationDraw
) -> tuple[UInt8[Array, "B H W C"], Float[Array, "B K"]]:
    """Applies each image's operations in their order.

    Args:
      images: bytes, not normalised, with 1 or 3 channels.
      targets: returned unchanged.
      draw: with arrays of shape (N, B).

    Torch twin: torchvision.transforms.RandAugment, of uint8 tensors: see
    jaxvit/augment/operations.py.
    """
    magnitudes = rand_magnitudes(*images.shape[1:3])

    def step(images: Array, draw: OperationDraw) -> tuple[Array, None]:
        return apply_operations(images, draw, magnitudes), None

    return jax.lax.scan(step, images, draw)[0], targets


def rand_magnitudes(height: int, width: int) -> np.ndarray:
    """torchvision's space, float32 (14, LEVELS); translations reach 150 / 331 of a side."""
    reach = 150 / 331
    return magnitude_table(
        shear=0.3, columns=reach * width, rows=reach * height, degrees=30, blend=0.9, bits=4
    )
