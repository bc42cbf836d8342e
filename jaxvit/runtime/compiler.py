"""jax.jit with the options of XLA that make these programs faster, and a cache of programs."""

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp

from jaxvit.config import Config
from jaxvit.paths import user_path
from jaxvit.runtime.machine import cores, instructions, processor, vendor

KEPT_BYTES = 2**30  # of programs, in each subdirectory that keep_programs makes


def jit(function: Callable, **options) -> Callable:
    """jax.jit(function, **options), compiled with xla_options()."""
    return jax.jit(function, compiler_options=xla_options(), **options)


@cache
def xla_options() -> dict[str, str] | None:
    """Options that this XLA knows, for the devices that this process has.

    On an Intel CPU, matmuls by Eigen and oneDNN instead of YNNPACK, which keeps the reductions. On
    two AVX-512 cores of a Xeon a step of ViT-S/16 at batch 8 took 1.64 s with them and 1.82 s
    without; on two cores of an AMD EPYC 0.732 s and 0.695 s, so there XLA's defaults stay
    (docs/experiments.md).
    """
    if jax.default_backend() != "cpu" or vendor() != "GenuineIntel":
        return None
    options = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}
    try:
        jax.jit(jnp.negative, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:  # another version of XLA, without it
        return None
    return options


def cache_programs(config: Config, say: Callable[[str], None]) -> None:
    """keep_programs in the configured cache directory, where that is wanted.

    Not for many processes: one would find a program, and the others wait for its share in
    compiling it.
    """
    directory = user_path("data.cache-dir", config.data.cache_dir)
    alone = jax.process_count() == 1
    if config.keep_programs and alone and not keep_programs(directory):
        say(f"compiled programs are not cached: {directory} cannot be written")


def keep_programs(directory: Path) -> bool:
    """From now on, compiled programs are cached on disk, and a later process takes them from there.

    Each set of instructions and each number of XLA's threads (NPROC in the environment, else the
    cores) has a subdirectory of its own, because XLA compiles for both. Evicts the oldest programs
    once a subdirectory exceeds KEPT_BYTES. Where JAX_COMPILATION_CACHE_DIR names a directory, that
    is used, and nothing is evicted.

    Returns:
      Whether they can be cached.
    """
    if jax.config.jax_compilation_cache_dir is not None:
        return True
    threads = os.environ.get("NPROC", cores())
    kind = f"{processor()} {instructions()} {threads}"
    place = directory / "programs" / hashlib.sha256(kind.encode()).hexdigest()[:16]
    try:
        place.mkdir(parents=True, exist_ok=True)
        _remove_oldest(place)
    except OSError:
        return False
    if not os.access(place, os.W_OK):
        return False
    jax.config.update("jax_compilation_cache_dir", str(place))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    return True


def _remove_oldest(place: Path) -> None:
    # JAX's own limit is not used: a process killed while it writes leaves a file that its
    # accounting stumbles over, and from then on nothing is kept.
    total = 0
    for path in sorted(place.glob("*-cache"), key=lambda path: -path.stat().st_mtime):
        total += path.stat().st_size
        if total > KEPT_BYTES:
            path.unlink(missing_ok=True)
