"""How parameters start: PyTorch's defaults, which the lab keeps, or Xavier and zeros."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

Init = Literal["torch", "vit"]
Initializer = Callable[..., jax.Array]


def uniform_fan_in(fan_in: int) -> Initializer:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default for Linear and Conv2d.

    PyTorch draws weights with kaiming_uniform(a=sqrt(5)), which has this very bound, and biases
    from the same interval, so the fan-in must be given: a bias's own shape does not tell it.

    Args:
      fan_in: inputs to one output unit, at least 1.

    Source: torch.nn.Linear.reset_parameters, torch.nn.Conv2d.reset_parameters.
    """
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


# torch.nn.init.trunc_normal_(std=.02) cuts at -2 and 2, a hundred standard deviations away:
# in float32 that is the plain normal distribution.
token_init: Initializer = nn.initializers.normal(0.02)


def kernel_init(init: Init, fan_in: int) -> Initializer:
    """For a product's kernel: PyTorch's uniform, or Xavier (Glorot) uniform."""
    return uniform_fan_in(fan_in) if init == "torch" else nn.initializers.xavier_uniform()


def bias_init(init: Init, fan_in: int) -> Initializer:
    """For its bias: PyTorch's uniform, or zeros."""
    return uniform_fan_in(fan_in) if init == "torch" else nn.initializers.zeros


def head_kernel_init(init: Init, fan_in: int) -> Initializer:
    """For the classifier: PyTorch's uniform, or zeros, so that training starts at log K."""
    return uniform_fan_in(fan_in) if init == "torch" else nn.initializers.zeros


def patch_kernel_init(init: Init, fan_in: int) -> Initializer:
    """For the patch convolution: PyTorch's uniform, or LeCun normal."""
    return uniform_fan_in(fan_in) if init == "torch" else nn.initializers.lecun_normal()
