"""A function of one image, for a batch of images that each take another branch of it."""

from collections.abc import Callable
from typing import Any

import jax


def per_image(function: Callable[..., Any], *batch: Any) -> Any:
    """jax.vmap(function)(*batch), which on a CPU is computed one image after the other.

    Under vmap every image is taken through all branches of a jax.lax.switch, and one result is
    kept. A loop takes each through its own. On two cores of a CPU, 64 images of 224 (32) pixels
    took .011 s (.0002 s) of a loop and .84 s (.011 s) of vmap with fourteen operations, and .28 s
    (.003 s) of a loop and 2.2 s (.034 s) of vmap with colour jitter. Elsewhere the images are
    computed at once, since a loop leaves an accelerator idle and is not split over devices.

    Args:
      function: of one example's arrays.
      batch: arrays, or trees of them, that lead with B.
    """

    def one_by_one(*batch: Any) -> Any:
        return jax.lax.map(lambda example: function(*example), batch)

    return jax.lax.platform_dependent(*batch, cpu=one_by_one, default=jax.vmap(function))
