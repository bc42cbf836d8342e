"""Several views of each image: the same augmentation with draws of its own for each."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxvit.augment.pipeline import Augment
from jaxvit.shapes import Array, Float, UInt8


def make_views(augment: Augment, number: int) -> Augment:
    """(key, images, targets) -> number views of each image, and their targets.

    The B V views are one batch to `augment`, image by image: independent draws for each, while what
    mixes images (CutMix) finds a partner among all views. Views of an image are neighbours, so
    that images which are split over devices take their views along.

    Args:
      augment: see jaxvit.augment.pipeline.make_augment.
      number: V, at least 1.

    Returns:
      views(key, images, targets) -> (images, targets), with images uint8 (B, H, W, C) before and
      float32 (B, V, S, S, C) after, and targets (B, K) before and (B, V, K) after.

    Torch twin: torch_ref/instance_discrimination/views.py.
    """

    def views(
        key: jax.Array, images: UInt8[Array, "B H W C"], targets: Float[Array, "B K"]
    ) -> tuple[Float[Array, "B V S T C"], Float[Array, "B V K"]]:
        repeated = (jnp.repeat(each, number, axis=0) for each in (images, targets))
        found = augment(key, *repeated)
        return tuple(each.reshape(len(images), number, *each.shape[1:]) for each in found)

    return views


def make_row_views(augment: Augment, number: int) -> Callable[[jax.Array, Array], Array]:
    """(keys, images) -> number views of each image, float32 (B, V, S, S, C).

    What is drawn for an image depends on its own key alone, and not on the others of its batch.

    Args:
      augment: that mixes no images.
      number: V, at least 1.

    Returns:
      views(keys, images), with a key for each image.
    """

    def of_one(key: jax.Array, image: UInt8[Array, "H W C"]) -> Float[Array, "V S T C"]:
        images = jnp.broadcast_to(image, (number, *image.shape))
        return augment(key, images, jnp.zeros((number, 1)))[0]

    return jax.vmap(of_one)
