"""Mixup: each example blended with another of its batch."""

from typing import NamedTuple

import jax

from jaxvit.shapes import Array, Float, Int


class MixupDraw(NamedTuple):
    """One blend for the batch: lam in [0, 1], and partner, a permutation of the batch."""

    lam: Float[Array, ""]
    partner: Int[Array, "B"]


def draw_mixup(key: jax.Array, batch_size: int, alpha: float) -> MixupDraw:
    """lam ~ Beta(alpha, alpha), alpha above 0, and a uniform permutation."""
    key_lam, key_partner = jax.random.split(key)
    return MixupDraw(
        lam=jax.random.beta(key_lam, alpha, alpha),
        partner=jax.random.permutation(key_partner, batch_size),
    )


def apply_mixup(
    images: Float[Array, "B H W C"], targets: Float[Array, "B K"], draw: MixupDraw
) -> tuple[Float[Array, "B H W C"], Float[Array, "B K"]]:
    """Blends each example with its partner.

    x' = lam x + (1 - lam) x[partner], and the targets likewise.

    Args:
      images: normalised or raw; any float dtype.
      targets: rows sum to 1.
      draw: lam in [0, 1], and partner, a permutation of the batch.

    Source: Zhang et al. 2018, arXiv:1710.09412. Torch twin: torch_ref/mixup.py.
    """
    lam, partner = draw
    images = lam * images + (1 - lam) * images[partner]
    targets = lam * targets + (1 - lam) * targets[partner]
    return images, targets
