"""CutMix: a box of each image replaced by the same box of another of its batch."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvit.augment.boxes import Box, box_mask, draw_boxes
from jaxvit.shapes import Array, Float, Int


class CutmixDraw(NamedTuple):
    """partner, a permutation of the batch; box, one an image, empty where it is left alone."""

    partner: Int[Array, "B"]
    box: Box


def draw_cutmix(
    key: jax.Array, batch_size: int, height: int, width: int, alpha: float, p: float
) -> CutmixDraw:
    """One permutation of the batch; then for each sample, with probability p, a box.

    lam ~ Beta(alpha, alpha) for each sample; the box's sides are sqrt(1 - lam) of the image's,
    rounded down; its centre is uniform over the pixels and its corners are clipped to the image.

    Args:
      alpha: above 0.
      p: in [0, 1].
    """
    key_partner, key_p, key_lam, key_box = jax.random.split(key, 4)
    lam = jax.random.beta(key_lam, alpha, alpha, (batch_size,))
    lam = jnp.where(jax.random.bernoulli(key_p, p, (batch_size,)), lam, 1)
    box = draw_boxes(key_box, *box_sides(lam, height, width), height, width)
    return CutmixDraw(partner=jax.random.permutation(key_partner, batch_size), box=box)


def box_sides(lam: Float[Array, "B"], height: int, width: int) -> tuple[Array, Array]:
    """floor(H sqrt(1 - lam)) rows and floor(W sqrt(1 - lam)) columns: a share of 1 - lam."""
    ratio = jnp.sqrt(1 - lam)
    return jnp.int32(jnp.floor(height * ratio)), jnp.int32(jnp.floor(width * ratio))


def apply_cutmix(
    images: Float[Array, "B H W C"], targets: Float[Array, "B K"], draw: CutmixDraw
) -> tuple[Float[Array, "B H W C"], Float[Array, "B K"]]:
    """Pastes each example's box from its partner, and mixes the targets by area.

    x' = x[partner] inside the box, x outside; y' = lam y + (1 - lam) y[partner], with
    lam = 1 - box area / (H W) of the clipped box, not the lam that its size was drawn from.

    Args:
      images: normalised or raw; rows are H, columns are W.
      targets: rows sum to 1.
      draw: see CutmixDraw.

    Source: Yun et al. 2019, arXiv:1905.04899. Torch twin: torch_ref/cutmix.py.
    """
    partner, box = draw
    height, width = images.shape[1:3]
    inside = box_mask(box, height, width)[..., None]  # (B, H, W, 1)
    lam = (1 - box.area / (height * width))[:, None]  # (B, 1)
    images = jnp.where(inside, images[partner], images)
    targets = lam * targets + (1 - lam) * targets[partner]
    return images, targets
