"""Options of XLA, by what a program computes."""

from functools import cache

import jax
import jax.numpy as jnp

EIGEN = ("xla_cpu_experimental_ynn_fusion_type", "LIBRARY_FUSION_TYPE_REDUCE")


def compiler_options(convolves: bool, devices: int = 1) -> dict[str, str] | None:
    """compiler_options of jax.jit, which JAX takes for outermost programs only.

    On a CPU, XLA's convolutions are YNNPACK's, which computes those to 64 channels or fewer on one
    core. With these options YNNPACK computes reductions only, and Eigen, which uses all cores, the
    rest. A Vision Transformer is slower with them, and so is a U-Net on two devices, each of which
    has a part of the cores. Measured in docs/speed.md; ResNets on several devices were not.

    Args:
      convolves: whether the layers of the program's model are convolutions.
      devices: that compute the program together.

    Returns:
      None for XLA's defaults: for other models, for several devices, on other platforms, or where
      XLA has no such option.
    """
    if not convolves or devices > 1 or jax.default_backend() != "cpu":
        return None
    return _known(*EIGEN)


@cache
def _known(name: str, value: str) -> dict[str, str] | None:
    options = {name: value}
    try:
        jax.jit(jnp.negative, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:  # another version of XLA, without the option
        return None
    return options
