"""Noise tunnel: the attributions of noisy copies of an image, averaged."""

from collections.abc import Callable
from typing import Literal

import jax

from jaxvit.shapes import Array, Float

Kind = Literal["smoothgrad", "smoothgrad_sq", "vargrad"]
# (images, targets) -> attributions (B, H, W, C), or maps (B, n, n).
Attribute = Callable[[Array, Array], Array]


def noise_tunnel(
    attribute: Attribute,
    images: Float[Array, "B H W C"],
    targets: int | Array,
    *,
    key: Array,
    kind: Kind = "smoothgrad_sq",
    samples: int = 5,
    stdevs: float = 1.0,
) -> Float[Array, "B *S"]:
    """Of the attributions A_i of x + e_i with e_i ~ N(0, stdevs^2), for each pixel:

    smoothgrad: mean(A); smoothgrad_sq: mean(A^2); vargrad: mean(A^2) - mean(A)^2.

    Args:
      attribute: (images, targets) to attributions, such as
        lambda images, targets: saliency(logits_fn, images, targets); maps of grad_cam or attention
        do as well.
      images: normalised.
      targets: as attribute takes them.
      key: of the noise.
      kind: see above.
      samples: noisy copies of each image, at least 1; they are taken one after the other.
      stdevs: in units of the normalised image, at least 0.

    Returns:
      Of the shape of what attribute gives.

    Raises:
      ValueError: there is no such kind, or a number is out of its range.

    Source: Smilkov et al. 2017, arXiv:1706.03825; Adebayo et al. 2018, arXiv:1810.03307. Captum's
    NoiseTunnel.
    """
    noise = draw_noise_tunnel(key, images.shape, samples, stdevs)
    return apply_noise_tunnel(attribute, images, targets, noise, kind)


def draw_noise_tunnel(
    key: Array, shape: tuple[int, ...], samples: int, stdevs: float
) -> Float[Array, "S B H W C"]:
    """Noise for each copy of each image.

    Raises:
      ValueError: samples is below 1, or stdevs below 0.
    """
    if samples < 1:
        raise ValueError(f"samples {samples} is too small: give at least 1")
    if stdevs < 0:
        raise ValueError(f"stdevs {stdevs} is negative: give 0 or more")
    return stdevs * jax.random.normal(key, (samples, *shape))


def apply_noise_tunnel(
    attribute: Attribute,
    images: Float[Array, "B H W C"],
    targets: int | Array,
    noise: Float[Array, "S B H W C"],
    kind: Kind = "smoothgrad_sq",
) -> Float[Array, "B *S"]:
    """The statistic of the attributions of images + noise[0], images + noise[1], ..."""
    if kind not in Kind.__args__:
        raise ValueError(f"unknown kind {kind!r}: choose one of {', '.join(Kind.__args__)}")
    if not len(noise):
        raise ValueError("noise of no sample: draw at least 1")
    mean = squares = deviations = 0.0  # of the shape of what attribute gives, from the first on
    for number, each in enumerate(noise, 1):
        found = attribute(images + each, targets)
        before, mean = mean, mean + (found - mean) / number
        squares = squares + (found * found - squares) / number
        # Welford's sum of squared deviations: mean(A^2) - mean(A)^2 would cancel.
        deviations = deviations + (found - before) * (found - mean)
    return {"smoothgrad": mean, "smoothgrad_sq": squares, "vargrad": deviations / len(noise)}[kind]
