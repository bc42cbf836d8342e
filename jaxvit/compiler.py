"""jax.jit, with the options of XLA that make these programs faster."""

from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp


def jit(function: Callable, **options) -> Callable:
    """jax.jit(function, **options), compiled with xla_options()."""
    return jax.jit(function, compiler_options=xla_options(), **options)


@cache
def xla_options() -> dict[str, str] | None:
    """Options that this XLA knows, for the devices that this process has.

    On a CPU, matrix products by Eigen and oneDNN instead of YNNPACK, which keeps the reductions:
    1.64 s a step instead of 1.82 for ViT-S/16 at batch 8 on two AVX-512 cores.
    """
    if jax.default_backend() != "cpu":
        return None
    options = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}
    try:
        jax.jit(jnp.negative, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:  # another version of XLA, without it
        return None
    return options
