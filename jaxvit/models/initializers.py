"""Initial parameters: PyTorch's defaults as in the lab ("torch"), or Xavier and zeros ("vit")."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

Init = Literal["torch", "vit"]
Initializer = Callable[..., jax.Array]


def uniform_fan_in(fan_in: int) -> Initializer:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default for Linear and Conv2d.

    PyTorch draws weights with kaiming_uniform(a=sqrt(5)), which has the same bound, and biases
    from the same interval. The fan-in is an argument because a bias's shape does not contain it.

    Args:
      fan_in: number of inputs to one output unit, at least 1.

    Returns:
      (key, shape, dtype) -> array, as Flax's initializers.

    Source: torch.nn.Linear.reset_parameters, torch.nn.Conv2d.reset_parameters.
    """
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


# torch.nn.init.trunc_normal_(std=.02) truncates at -2 and 2, a hundred standard deviations from the
# mean: in float32 it equals the plain normal distribution.
token_init: Initializer = nn.initializers.normal(0.02)


def kernel_init(init: Init, fan_in: int) -> Initializer:
    """For a matmul's kernel: "torch" uniform_fan_in, "vit" Xavier (Glorot) uniform.

    Xavier: U(-a, a) with a = sqrt(6 / (fan_in + fan_out)). Source: Glorot and Bengio 2010.
    """
    return uniform_fan_in(fan_in) if init == "torch" else nn.initializers.xavier_uniform()


def bias_init(init: Init, fan_in: int) -> Initializer:
    """For a matmul's bias: "torch" uniform_fan_in of the kernel's fan-in, "vit" zeros."""
    return uniform_fan_in(fan_in) if init == "torch" else nn.initializers.zeros


def head_kernel_init(init: Init, fan_in: int) -> Initializer:
    """For the classifier: "torch" uniform_fan_in, "vit" zeros, so that the loss starts at log K."""
    return uniform_fan_in(fan_in) if init == "torch" else nn.initializers.zeros


def patch_kernel_init(init: Init, fan_in: int) -> Initializer:
    """For the patch projection: "torch" uniform_fan_in, "vit" LeCun normal.

    LeCun: truncated normal of variance 1 / fan_in. Source: LeCun et al. 1998.
    """
    return uniform_fan_in(fan_in) if init == "torch" else nn.initializers.lecun_normal()
