"""How many images a backbone computes at a time: few on a CPU, and a multiple of the devices."""

import jax
import pytest

from jaxvit.tasks.features import batch_size_for


@pytest.mark.parametrize(("backend", "devices", "expected"), [
    ("cpu", 1, 8), ("cpu", 4, 8), ("cpu", 3, 9), ("cpu", 16, 16), ("gpu", 1, 64), ("gpu", 6, 66),
])  # fmt: skip
def test_a_batch_has_a_multiple_of_the_devices(backend, devices, expected, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert batch_size_for(devices) == expected
