"""For every test: shapes in jaxvit's signatures are checked at each call, and data is found."""

import os
from pathlib import Path

# Before jax starts: four emulated CPU devices, so that parallel code runs in parallel. To hold the
# comparisons on a GPU: JAX_PLATFORMS=cuda pytest parity_tests.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# On a busy machine they may wait for each other for longer than the 40 s after which XLA aborts.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=4"
    + " --xla_cpu_collective_call_terminate_timeout_seconds=300"
)
# Programs that several tests compile, here or in processes of their own, are compiled once.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).resolve().parent / ".pytest_cache" / "xla")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest
from jaxtyping import install_import_hook

# An int where a float is asked for is fine, as everywhere in Python.
install_import_hook("jaxvit", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

SHARED = Path(__file__).resolve().parent.parent / "shared"


@pytest.fixture(scope="session")
def pets_root() -> Path:
    """A directory that holds real pictures, oxford-iiit-pet/; skips where there is none."""
    root = SHARED / "data"
    if not (root / "oxford-iiit-pet").is_dir():
        pytest.skip("no ../shared/data/oxford-iiit-pet beside this checkout")
    return root
