"""Bytes to centred floats."""

import jax.numpy as jnp

from jaxvit.shapes import Array, Float, UInt8


def normalize(
    images: UInt8[Array, "B H W C"], mean: tuple[float, ...], std: tuple[float, ...]
) -> Float[Array, "B H W C"]:
    """x' = (x / 255 - mean) / std, channel by channel.

    Args:
      images: bytes.
      mean, std: one value a channel, of pixels in [0, 1]; std above 0.

    Torch twin: torchvision's ToTensor then Normalize.
    """
    scaled = images.astype(jnp.float32) / 255.0
    return (scaled - jnp.asarray(mean, jnp.float32)) / jnp.asarray(std, jnp.float32)
