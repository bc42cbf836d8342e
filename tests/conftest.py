"""These tests compile without most of XLA's optimisations; parity_tests compile as users do."""

from pathlib import Path

import jax
import pytest
import torchvision  # noqa: F401 - before tensorflow, whose LLVM makes that of triton abort

import train_jax


@pytest.fixture(autouse=True, scope="package")
def _quick_compilation():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()  # programs compiled without optimisations must not be reused


@pytest.fixture(scope="package")
def tiny(tmp_path_factory) -> list[str]:
    """Options of a run of 39 steps with random draws of every kind and mid-epoch checkpoints."""
    return [
        "--epochs", "2", "--model.embed-dim", "16", "--model.num-layers", "1",
        "--model.dropout", "0.1", "--log-every-steps", "5", "--checkpoint.every-steps", "4",
        "--data.cache-dir", str(tmp_path_factory.mktemp("cache")),
    ]  # fmt: skip


@pytest.fixture(scope="package")
def uninterrupted(_quick_compilation, tmp_path_factory, tiny) -> Path:
    """The directory of that run, uninterrupted, on this process's four devices."""
    path = tmp_path_factory.mktemp("reference") / "run"
    assert train_jax.main([*tiny, "--out", str(path)]) == 0
    return path
