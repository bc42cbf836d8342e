"""Random Gaussian blur."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvit.shapes import Array, Bool, Float


class BlurDraw(NamedTuple):
    """sigma[b]: the standard deviation in pixels; applied[b]: whether image b is blurred at all."""

    sigma: Float[Array, "B"]
    applied: Bool[Array, "B"]


def draw_blur(key: jax.Array, batch_size: int, sigma: tuple[float, float], p: float) -> BlurDraw:
    """sigma[b] ~ U(low, high) and applied[b] ~ Bernoulli(p), independently for each image.

    Args:
      key: of jax.random.
      batch_size: B.
      sigma: low and high, in pixels, above 0.
      p: in [0, 1].

    Torch twin: torchvision.transforms.RandomApply of GaussianBlur.
    """
    keys = jax.random.split(key)
    return BlurDraw(
        jax.random.uniform(keys[0], (batch_size,), minval=sigma[0], maxval=sigma[1]),
        jax.random.bernoulli(keys[1], p, (batch_size,)),
    )


def apply_blur(
    images: Float[Array, "B H W C"],
    targets: Float[Array, "B K"],
    draw: BlurDraw,
    kernel_size: int,
) -> tuple[Float[Array, "B H W C"], Float[Array, "B K"]]:
    """x' = G x G^T for every channel: row o of G has w_t at the pixel o + t, mirrored at the edge.

    w_t = exp(-t^2 / (2 sigma^2)) / sum, for t from -(k - 1) / 2 to (k - 1) / 2.

    Args:
      images: normalised or raw.
      targets: returned unchanged.
      draw: see BlurDraw.
      kernel_size: k, odd, in pixels; (k - 1) / 2 is less than H and W.

    Torch twin: torchvision.transforms.functional.gaussian_blur.
    """
    half = kernel_size // 2
    taps = jnp.arange(-half, half + 1, dtype=jnp.float32)
    weights = jnp.exp(-0.5 * (taps / draw.sigma[:, None]) ** 2)  # (B, k)
    weights /= weights.sum(axis=1, keepdims=True)
    precise = jax.lax.Precision.HIGHEST
    rows, columns = (
        jnp.einsum("bt,toi->boi", weights, _places(size, half), precision=precise)
        for size in images.shape[1:3]
    )
    blurred = jnp.einsum("boh,bhwc->bowc", rows, images, precision=precise)
    blurred = jnp.einsum("bow,bhwc->bhoc", columns, blurred, precision=precise)
    return jnp.where(draw.applied[:, None, None, None], blurred, images), targets


def _places(size: int, half: int) -> np.ndarray:
    """(k, size, size): 1 where tap t of output o reads input i; the edge is not repeated."""
    found = np.zeros((2 * half + 1, size, size), np.float32)
    outputs = np.arange(size)
    for tap in range(2 * half + 1):
        inputs = np.abs(outputs + tap - half)
        inputs = np.where(inputs >= size, 2 * (size - 1) - inputs, inputs)
        found[tap, outputs, inputs] = 1
    return found
