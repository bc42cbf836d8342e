"""TrivialAugment: one random operation of random strength for each image."""

import jax
import numpy as np

from jaxvit.augment.operations import (
    LEVELS,
    OPERATIONS,
    OperationDraw,
    apply_operations,
    magnitude_table,
)
from jaxvit.shapes import Array, Float, UInt8


def draw_trivial_augment(key: jax.Array, batch_size: int) -> OperationDraw:
    """Independently for each image, uniform: an operation of 14, a level of 31, and a sign.

    Args:
      key: of jax.random.
      batch_size: B.

    Source: Müller and Hutter 2021, arXiv:2103.10158, the wide space of Table 1. Torch twin:
    torchvision.transforms.TrivialAugmentWide.
    """
    keys, shape = jax.random.split(key, 3), (batch_size,)
    return OperationDraw(
        jax.random.randint(keys[0], shape, 0, len(OPERATIONS)),
        jax.random.randint(keys[1], shape, 0, LEVELS),
        jax.random.bernoulli(keys[2], 0.5, shape),
    )


def apply_trivial_augment(
    images: UInt8[Array, "B H W C"], targets: Float[Array, "B K"], draw: OperationDraw
) -> tuple[UInt8[Array, "B H W C"], Float[Array, "B K"]]:
    """Applies each image's operation.

    Args:
      images: bytes, not normalised, with 1 or 3 channels.
      targets: returned unchanged.
      draw: with arrays of shape (B,).

    Torch twin: torchvision.transforms.TrivialAugmentWide, of uint8 tensors: see
    jaxvit/augment/operations.py.
    """
    return apply_operations(images, draw, trivial_magnitudes()), targets


def trivial_magnitudes() -> np.ndarray:
    """The wide space, float32 (14, LEVELS); translations are in pixels, whatever the size."""
    return magnitude_table(shear=0.99, columns=32, rows=32, degrees=135, blend=0.99, bits=6)
