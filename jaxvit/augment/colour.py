"""Colour augmentation: jitter of brightness, contrast, saturation and hue, and grey images."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvit.shapes import Array, Bool, Float, Int

GREY = (0.2989, 0.587, 0.114)  # weights of red, green and blue, as torchvision has them


class ColourDraw(NamedTuple):
    """For each image: the factors, and the order in which the four changes come.

    Attributes:
      brightness, contrast, saturation: factors, at least 0; 1 changes nothing.
      hue: a part of a turn of the hue circle, in [-.5, .5]; 0 changes nothing.
      order: a permutation of 0 (brightness), 1 (contrast), 2 (saturation) and 3 (hue).
      applied: whether the image is changed at all.
    """

    brightness: Float[Array, "B"]
    contrast: Float[Array, "B"]
    saturation: Float[Array, "B"]
    hue: Float[Array, "B"]
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
      brightness, contrast, saturation: x, at least 0.
      hue: in [0, .5].
      p: probability that an image is changed.

    Torch twin: torchvision.transforms.ColorJitter; with p, RandomApply of it.
    """
    keys = jax.random.split(key, 6)

    def factor(key: jax.Array, strength: float) -> jax.Array:
        low, high = max(0.0, 1 - strength), 1 + strength
        return jax.random.uniform(key, (batch_size,), minval=low, maxval=high)

    turn = jax.random.uniform(keys[3], (batch_size,), minval=-hue, maxval=hue)
    order = jax.vmap(lambda key: jax.random.permutation(key, 4))(
        jax.random.split(keys[4], batch_size)
    )
    applied = jax.random.bernoulli(keys[5], p, (batch_size,))
    return ColourDraw(
        factor(keys[0], brightness),
        factor(keys[1], contrast),
        factor(keys[2], saturation),
        turn,
        order,
        applied,
    )


def apply_colour_jitter(
    images: Float[Array, "B H W 3"], targets: Float[Array, "B K"], draw: ColourDraw
) -> tuple[Float[Array, "B H W 3"], Float[Array, "B K"]]:
    """The four changes in the drawn order, each followed by a cut to [0, 1].

    brightness: f x. contrast: f x + (1 - f) m, with m the mean of the image's grey. saturation:
    f x + (1 - f) grey(x). hue: the hue of x in HSV, plus the turn.

    Args:
      images: not normalised, in [0, 1].
      targets: returned unchanged.
      draw: see ColourDraw.

    Torch twin: torchvision.transforms.functional.adjust_brightness, adjust_contrast,
    adjust_saturation and adjust_hue, of float tensors.
    """

    def blend(image: Array, other: Array, factor: Array) -> Array:
        return jnp.clip(factor * image + (1 - factor) * other, 0, 1)

    def jitter(image: Array, factors: ColourDraw) -> Array:
        changes = (
            lambda x: blend(x, jnp.zeros_like(x), factors.brightness),
            lambda x: blend(x, grey(x).mean(), factors.contrast),
            lambda x: blend(x, grey(x), factors.saturation),
            lambda x: turned(x, factors.hue),
        )
        changed = image
        for position in range(4):
            changed = jax.lax.switch(factors.order[position], changes, changed)
        return jnp.where(factors.applied, changed, image)

    return jax.vmap(jitter)(images, draw), targets


def grey(image: Float[Array, "*B H W 3"]) -> Float[Array, "*B H W 1"]:
    """.2989 R + .587 G + .114 B."""
    return (image * jnp.asarray(GREY, image.dtype)).sum(axis=-1, keepdims=True)


def apply_grey(
    images: Float[Array, "B H W 3"], targets: Float[Array, "B K"], greyed: Bool[Array, "B"]
) -> tuple[Float[Array, "B H W 3"], Float[Array, "B K"]]:
    """The grey of an image in all three channels, where greyed.

    Torch twin: torchvision.transforms.functional.rgb_to_grayscale with three channels.
    """
    return jnp.where(greyed[:, None, None, None], grey(images), images), targets


def turned(image: Float[Array, "H W 3"], turn: Float[Array, ""]) -> Float[Array, "H W 3"]:
    """The image with its hue turned by a part of the circle, through HSV."""
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
