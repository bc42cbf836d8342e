"""Options of XLA, by what a program computes."""

from functools import cache

import jax
import jax.numpy as jnp


def compiler_options(convolves: bool) -> dict[str, str] | None:
    """compiler_options of jax.jit.

    On a CPU, XLA gives convolutions to YNNPACK, which computes those to 64 channels or fewer on one
    core. Programs of convolutions leave it reductions alone, and Eigen uses all cores; others are
    faster as they are (docs/speed.md).

    Args:
      convolves: whether most of the program's time goes to convolutions.
    """
    if not convolves or jax.default_backend() != "cpu":
        return None
    return _eigen()


@cache
def _eigen() -> dict[str, str] | None:
    options = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}
    try:
        jax.jit(jnp.negative, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:  # another version of XLA, without the option
        return None
    return options
