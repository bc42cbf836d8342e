"""Mixup: averages each example with another example of the batch."""

from typing import NamedTuple

import jax

from jaxvit.shapes import Array, Float, Int


class MixupDraw(NamedTuple):
    """The random draws for one batch.

    Attributes:
      lam: weight of the example itself, in [0, 1], one for the batch.
      partner: a permutation of the batch.
    """

    lam: Float[Array, ""]
    partner: Int[Array, "B"]


def draw_mixup(key: jax.Array, batch_size: int, alpha: float) -> MixupDraw:
    """lam ~ Beta(alpha, alpha), and a uniform permutation.

    Args:
      key: of jax.random.
      batch_size: B.
      alpha: of the Beta distribution, above 0.

    Source: Zhang et al. 2018, arXiv:1710.09412. Torch twin: torch_ref/mixup.py.
    """
    key_lam, key_partner = jax.random.split(key)
    return MixupDraw(
        lam=jax.random.beta(key_lam, alpha, alpha),
        partner=jax.random.permutation(key_partner, batch_size),
    )


def apply_mixup(
    images: Float[Array, "B H W C"], targets: Float[Array, "B K"], draw: MixupDraw
) -> tuple[Float[Array, "B H W C"], Float[Array, "B K"]]:
    """Averages each example with its partner, with weights lam and 1 - lam.

    x' = lam x + (1 - lam) x[partner] and y' = lam y + (1 - lam) y[partner].

    Args:
      images: normalised or raw; any float dtype.
      targets: rows sum to 1.
      draw: see MixupDraw.

    Returns:
      Images and targets of the same shapes; rows of the targets sum to 1.

    Source: Zhang et al. 2018, arXiv:1710.09412. Torch twin: torch_ref/mixup.py.
    """
    lam, partner = draw
    images = lam * images + (1 - lam) * images[partner]
    targets = lam * targets + (1 - lam) * targets[partner]
    return images, targets
