"""A cache of compiled programs for later processes."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import jax

from jaxvit.config import Config
from jaxvit.paths import user_path
from jaxvit.runtime.machine import cores, instructions, processor

KEPT_BYTES = 2**30  # limit on the programs in each subdirectory that keep_programs creates


def cache_programs(config: Config, say: Callable[[str], None]) -> None:
    """Caches compiled programs in config.data.cache_dir if config.keep_programs is set.

    Several processes do not cache: one that finds a program in its cache would not take part in
    compiling it, and the others would wait for that. Nor are programs cached that run on several
    CPU devices with a sharded state: read back from the cache (jax 0.10.2), they gather their
    shards in no fixed order, and the devices' threads can wait for each other without end.

    Args:
      config: keep_programs, data.cache_dir and parallel.shard_params.
      say: called with one line if the directory cannot be written.
    """
    directory = user_path("data.cache-dir", config.data.cache_dir)
    alone = jax.process_count() == 1
    emulated = jax.default_backend() == "cpu" and jax.device_count() > 1
    if not (config.keep_programs and alone) or (emulated and config.parallel.shard_params):
        return
    if not keep_programs(directory):
        say(f"compiled programs are not cached: {directory} cannot be written")


def keep_programs(directory: Path) -> bool:
    """Caches on disk the programs that are compiled from now on, for later processes.

    XLA compiles for the processor's instruction set and for a number of threads (NPROC in the
    environment, else the number of cores), so each combination has its own subdirectory. Evicts the
    oldest programs once a subdirectory exceeds KEPT_BYTES. If JAX_COMPILATION_CACHE_DIR names a
    directory, JAX uses that one instead, and nothing is evicted.

    Args:
      directory: created if missing.

    Returns:
      Whether programs are cached; False if the directory cannot be written.
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
    # JAX's own size limit is not used: a process that is killed while it writes leaves a file on
    # which JAX's accounting fails, and from then on JAX caches nothing.
    total = 0
    for path in sorted(place.glob("*-cache"), key=lambda path: -path.stat().st_mtime):
        total += path.stat().st_size
        if total > KEPT_BYTES:
            path.unlink(missing_ok=True)
