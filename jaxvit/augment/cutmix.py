"""CutMix: replaces a box of an image by the same box of another image of the batch."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvit.augment.boxes import Box, box_mask, draw_boxes
from jaxvit.shapes import Array, Float, Int


class CutmixDraw(NamedTuple):
    """The random draws for one batch.

    Attributes:
      partner: a permutation of the batch.
      box: one box per image, with edges of shape (B,); empty for an image that is not mixed.
    """

    partner: Int[Array, "B"]
    box: Box


def draw_cutmix(
    key: jax.Array, batch_size: int, height: int, width: int, alpha: float, p: float
) -> CutmixDraw:
    """One permutation of the batch, and for each image, with probability p, a box.

    Each image has its own lam ~ Beta(alpha, alpha). The sides of its box are
    floor(H sqrt(1 - lam)) and floor(W sqrt(1 - lam)). The centre is uniform over the pixels, and
    the box is clipped to the image.

    Args:
      key: of jax.random.
      batch_size: B.
      height, width: size H, W of the images, in pixels.
      alpha: of the Beta distribution, above 0.
      p: probability that an image is mixed, in [0, 1].

    Source: Yun et al. 2019, arXiv:1905.04899 (there one box per batch). Torch twin:
    torch_ref/cutmix.py.
    """
    key_partner, key_p, key_lam, key_box = jax.random.split(key, 4)
    lam = jax.random.beta(key_lam, alpha, alpha, (batch_size,))
    lam = jnp.where(jax.random.bernoulli(key_p, p, (batch_size,)), lam, 1)
    box = draw_boxes(key_box, *box_sides(lam, height, width), height, width)
    return CutmixDraw(partner=jax.random.permutation(key_partner, batch_size), box=box)


def box_sides(lam: Float[Array, "B"], height: int, width: int) -> tuple[Array, Array]:
    """Rows floor(H sqrt(1 - lam)) and columns floor(W sqrt(1 - lam)), int32 (B,).

    Up to rounding, the box is the fraction 1 - lam of the image.

    Args:
      lam: in [0, 1].
      height, width: size H, W of the image, in pixels.
    """
    ratio = jnp.sqrt(1 - lam)
    return jnp.int32(jnp.floor(height * ratio)), jnp.int32(jnp.floor(width * ratio))


def apply_cutmix(
    images: Float[Array, "B H W C"], targets: Float[Array, "B K"], draw: CutmixDraw
) -> tuple[Float[Array, "B H W C"], Float[Array, "B K"]]:
    """Replaces the box of each image by its partner's, and mixes the targets by area.

    x' = x[partner] inside the box, x outside; y' = lam y + (1 - lam) y[partner], with
    lam = 1 - area / (H W). The area is that of the clipped box, so this lam can be larger than the
    one that the sides were drawn from.

    Args:
      images: normalised or raw.
      targets: rows sum to 1.
      draw: see CutmixDraw.

    Returns:
      Images and targets of the same shapes; rows of the targets sum to 1.

    Source: Yun et al. 2019, arXiv:1905.04899. Torch twin: torch_ref/cutmix.py.
    """
    partner, box = draw
    height, width = images.shape[1:3]
    inside = box_mask(box, height, width)[..., None]  # (B, H, W, 1)
    lam = (1 - box.area / (height * width))[:, None]  # (B, 1)
    images = jnp.where(inside, images[partner], images)
    targets = lam * targets + (1 - lam) * targets[partner]
    return images, targets
