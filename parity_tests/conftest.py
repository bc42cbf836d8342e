"""Comparisons use full float32 precision: TF32, the default on GPUs, has a 10-bit mantissa."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="package")
def _full_precision():
    before = jax.config.jax_default_matmul_precision
    jax.config.update("jax_default_matmul_precision", "highest")
    yield
    jax.config.update("jax_default_matmul_precision", before)
