"""Colour augmentation: jitter of brightness, contrast, saturation and hue, and grey images."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvit.augment.per_image import per_image
from jaxvit.shapes import Array, Bool, Float, Int

GREY = (0.2989, 0.587, 0.114)  # weights of red, green and blue, as torchvision has them


class ColourDraw(NamedTuple):
    """For each image: the factors, and the order in which the four changes come.

    Attributes:
      brightness, contrast, saturation: factors, at least 0; None where that change is off.
      hue: a part of a turn of the hue circle, in [-.5, .5]; None where that change is off.
      order: a permutation of 0 (brightness), 1 (contrast), 2 (saturation) and 3 (hue).
      applied: whether the image is changed at all.
    """

    brightness: Float[Array, "B"] | None
    contrast: Float[Array, "B"] | None
    saturation: Float[Array, "B"] | None
    hue: Float[Array, "B"] | None
    order: Int[Array, "B 4"]
    applied: Bool[Array, "B"]


def draw_colour_jitter(
    key: jax.Array,
    batch_size: int,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    p: float = 1.0,
) -> ColourDraw:
    """Independently for each image: U(max(0, 1 - x), 1 + x) for three factors, U(-hue, hue).

    Args:
      key: of jax.random.
      batch_size: B.
      brightness, contrast, saturation: x, at least 0, which turns that change off.
      hue: in [0, .5]; 0 turns it off.
      p: probability that an image is changed.

    Torch twin: torchvision.transforms.ColorJitter; with p, RandomApply of it.
    """
    keys = jax.random.split(key, 6)

    def factor(key: jax.Array, strength: float, low: float, high: float) -> jax.Array | None:
        if strength == 0:
            return None
        return jax.random.uniform(key, (batch_size,), minval=low, maxval=high)

    def around_one(key: jax.Array, strength: float) -> jax.Array | None:
        return factor(key, strength, max(0.0, 1 - strength), 1 + strength)

    order = jax.vmap(lambda key: jax.random.permutation(key, 4))(
        jax.random.split(keys[4], batch_size)
    )
    applied = jax.random.bernoulli(keys[5], p, (batch_size,))
    return ColourDraw(
        around_one(keys[0], brightness),
        around_one(keys[1], contrast),
        around_one(keys[2], saturation),
        factor(keys[3], hue, -hue, hue),
        order,
        applied,
    )


def apply_colour_jitter(
    images: Float[Array, "B H W C"], targets: Float[Array, "B K"], draw: ColourDraw
) -> tuple[Float[Array, "B H W C"], Float[Array, "B K"]]:
    """The four changes in the drawn order, each followed by a cut to [0, 1].

    brightness: f x. contrast: f x + (1 - f) m, with m the mean of the image's grey. saturation:
    f x + (1 - f) grey(x). hue: the hue of x in HSV, plus the turn. An image of one channel has
    neither of the last two.

    Args:
      images: not normalised, in [0, 1], of 1 or 3 channels.
      targets: returned unchanged.
      draw: see ColourDraw.

    Torch twin: torchvision.transforms.functional.adjust_brightness, adjust_contrast,
    adjust_saturation and adjust_hue, of float tensors.
    """

    def blend(image: Array, other: Array, factor: Array) -> Array:
        return jnp.clip(factor * image + (1 - factor) * other, 0, 1)

    def jitter(image: Array, draw: ColourDraw) -> Array:
        changes = [
            (draw.brightness, lambda x: blend(x, jnp.zeros_like(x), draw.brightness)),
            # Columns first: the rounding of a long sum grows with its terms.
            (draw.contrast, lambda x: blend(x, grey(x).mean(axis=0).mean(), draw.contrast)),
            (draw.saturation, lambda x: blend(x, grey(x), draw.saturation)),
            (draw.hue, lambda x: turned(x, draw.hue)),
        ]
        branches = [change if amount is not None else lambda x: x for amount, change in changes]
        changed = image
        for position in range(4):
            changed = jax.lax.switch(draw.order[position], branches, changed)
        return jnp.where(draw.applied, changed, image)

    return per_image(jitter, images, draw), targets


def grey(image: Float[Array, "*B H W C"]) -> Float[Array, "*B H W 1"]:
    """.2989 R + .587 G + .114 B; one channel is its own grey."""
    if image.shape[-1] == 1:
        return image
    return (image * jnp.asarray(GREY, image.dtype)).sum(axis=-1, keepdims=True)


def draw_grey(key: jax.Array, batch_size: int, p: float) -> Bool[Array, "B"]:
    """greyed[b] ~ Bernoulli(p), independently for each image.

    Torch twin: torchvision.transforms.RandomGrayscale.
    """
    return jax.random.bernoulli(key, p, (batch_size,))


def apply_grey(
    images: Float[Array, "B H W C"], targets: Float[Array, "B K"], greyed: Bool[Array, "B"]
) -> tuple[Float[Array, "B H W C"], Float[Array, "B K"]]:
    """The grey of an image in all three channels, where greyed.

    Torch twin: torchvision.transforms.functional.rgb_to_grayscale with three channels.
    """
    return jnp.where(greyed[:, None, None, None], grey(images), images), targets


def turned(image: Float[Array, "H W C"], turn: Float[Array, ""]) -> Float[Array, "H W C"]:
    """The image with its hue turned by a part of the circle, through HSV."""
    if image.shape[-1] == 1:
        return image
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    value, low = image.max(axis=-1), image.min(axis=-1)
    flat = value == low  # no hue
    spread = value - low
    saturation = spread / jnp.where(flat, 1, value)
    divisor = jnp.where(flat, 1, spread)
    to_red, to_green, to_blue = ((value - c) / divisor for c in (red, green, blue))
    is_red, is_green = value == red, (value == green) & (value != red)
    hue = jnp.where(
        is_red,
        to_blue - to_green,
        jnp.where(is_green, 2 + to_red - to_blue, 4 + to_green - to_red),
    )
    hue = jnp.fmod(hue / 6 + 1, 1)
    hue = jnp.mod(hue + turn, 1)
    sector = jnp.floor(hue * 6)
    rest = hue * 6 - sector
    p = jnp.clip(value * (1 - saturation), 0, 1)
    q = jnp.clip(value * (1 - saturation * rest), 0, 1)
    t = jnp.clip(value * (1 - saturation * (1 - rest)), 0, 1)
    sector = sector.astype(jnp.int32) % 6
    channels = [
        (value, q, p, p, t, value),
        (t, value, value, q, p, p),
        (p, p, t, value, value, q),
    ]
    return jnp.stack([jnp.choose(sector, each, mode="clip") for each in channels], axis=-1)
