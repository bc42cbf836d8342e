"""Bytes to normalised floats, in two steps: to [0, 1], and to mean 0 and standard deviation 1."""

import jax.numpy as jnp

from jaxvit.shapes import Array, Float, UInt8


def normalize(
    images: UInt8[Array, "B H W C"], mean: tuple[float, ...], std: tuple[float, ...]
) -> Float[Array, "B H W C"]:
    """x' = (x / 255 - mean) / std, channel by channel.

    Args:
      images: bytes, 0 to 255.
      mean, std: C values each, for pixels in [0, 1]; std above 0.

    Returns:
      float32; of mean 0 and standard deviation 1 where mean and std are those of the images.

    Torch twin: torchvision.transforms.ToTensor, then Normalize.

    Example:
      >>> normalize(jnp.array([[[[0], [255]]]], jnp.uint8), (0.5,), (0.25,)).ravel().tolist()
      [-2.0, 2.0]
    """
    return standardize(from_bytes(images), mean, std)


def from_bytes(images: UInt8[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """x / 255: in [0, 1], float32. Torch twin: torchvision.transforms.ToTensor."""
    return images.astype(jnp.float32) / 255.0


def to_bytes(images: Float[Array, "*B H W C"]) -> UInt8[Array, "*B H W C"]:
    """The whole number nearest to 255 x, for x in [0, 1]: what from_bytes was given."""
    return jnp.round(images * 255).astype(jnp.uint8)


def standardize(
    scaled: Float[Array, "B H W C"], mean: tuple[float, ...], std: tuple[float, ...]
) -> Float[Array, "B H W C"]:
    """(x - mean) / std, for x in [0, 1]. Torch twin: torchvision.transforms.Normalize."""
    return (scaled - jnp.asarray(mean, jnp.float32)) / jnp.asarray(std, jnp.float32)
