"""Tests of behaviour compile in a hurry; parity_tests compile as a user's run does."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="package")
def _quick_compilation():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()  # what was compiled in a hurry must not be used again
