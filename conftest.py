"""For every test: emulated devices, a compilation cache, checks of array shapes, real images."""

import gc
import os
from pathlib import Path

# Set before jax is imported: four emulated CPU devices, so that parallel code runs in parallel. To
# run the comparisons on a GPU: JAX_PLATFORMS=cuda pytest parity_tests.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Sharded programs from the compilation cache need more threads than devices: see cache_programs.
os.environ.setdefault("NPROC", "16")
# On a busy machine the devices may wait for each other for more than 40 s, XLA's default limit.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=4"
    + " --xla_cpu_collective_call_terminate_timeout_seconds=300"
)
# Programs that several tests use, in this process or in subprocesses, are compiled once.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).resolve().parent / ".pytest_cache" / "xla")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:  # PyTorch's threads spin while they wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from jaxtyping import install_import_hook

gc.disable()  # modules stay: while they are imported there is no garbage

# An int is accepted where a float is annotated (PEP 484's numeric tower).
install_import_hook("jaxvit", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

SHARED = Path(__file__).resolve().parent.parent / "shared"


def pytest_collection_finish():
    """No later collection of garbage visits the modules of PyTorch, TensorFlow and JAX."""
    from jaxvit.runtime.startup import imported

    imported()


def pytest_unconfigure():
    gc.unfreeze()  # or nanobind reports them as leaks


@pytest.fixture(scope="session")
def pets_root() -> Path:
    """The directory that holds oxford-iiit-pet/, real photos; skips the test if it is missing."""
    root = SHARED / "data"
    if not (root / "oxford-iiit-pet").is_dir():
        pytest.skip("no ../shared/data/oxford-iiit-pet beside this checkout")
    return root


@pytest.fixture(autouse=True, scope="session")
def _runs_for_tests():
    """Runs in this process write no pages, and give freed memory back.

    Pages take seconds; tests that are about them call what writes them. Kept memory is one heap for
    all threads, which would slow the tests that follow.
    """
    import train_jax
    from jaxvit.commands import evaluate

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_jax, "try_run_page", lambda path, say: None)
        patch.setattr(train_jax, "keep_freed_memory", lambda: False)
        patch.setattr(evaluate, "write_evaluation_page", lambda *args: None)
        yield
