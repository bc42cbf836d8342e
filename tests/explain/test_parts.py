"""Parts of a batch take turns on the devices, and each row is computed once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvit import explain
from jaxvit.explain.parts import add_up, collect

WEIGHTS = jnp.arange(1.0, 4.0)


@pytest.fixture
def computed() -> list[tuple[jax.Device, int]]:
    """Filled with the device and the rows of each part, in turn, by the two functions below."""
    return []


def squares(computed, weights) -> jax.Array:
    """weights[row % 3] * row^2 of 13 rows, 8 at a time."""

    def compute(weights, rows):
        computed.append((next(iter(weights.devices())), len(rows)))
        return weights[rows % 3] * rows**2

    return collect(compute, (weights,), 13, 8, lambda rows, _: (rows,))


def added(computed, weights) -> jax.Array:
    """The sum of the squares."""

    def add(total, weights, rows, counts):
        computed.append((next(iter(weights.devices())), len(rows)))
        return total + (weights[rows % 3] * rows**2 * counts).sum()

    return add_up(add, jnp.zeros(()), (weights,), 13, 8, lambda *part: part)


EXPECTED = np.asarray(WEIGHTS)[np.arange(13) % 3] * np.arange(13) ** 2


def test_parts_take_turns_on_all_devices(computed):
    devices = jax.local_devices()
    assert len(devices) == 4
    assert np.array_equal(squares(computed, WEIGHTS), EXPECTED)
    assert computed == [(devices[number % 4], 2) for number in range(7)]  # 2: a quarter of 8


def test_each_row_is_added_once(computed):
    assert added(computed, WEIGHTS) == EXPECTED.sum()
    assert {device for device, _ in computed} == set(jax.local_devices())


def test_what_the_caller_placed_stays_there(computed):
    """Weights on a chosen device, or spread over several, are not copied elsewhere."""
    chosen = jax.local_devices()[2]
    weights = jax.device_put(WEIGHTS, chosen)
    assert np.array_equal(squares(computed, weights), EXPECTED)
    assert added(computed, weights) == EXPECTED.sum()
    assert computed == [(chosen, 7)] * 4


def test_methods_can_be_traced():
    def function(images):
        return images.sum(axis=(1, 2)) ** 2

    images = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))

    def attribute(images):
        return explain.integrated_gradients(function, images, 1, steps=5)

    np.testing.assert_allclose(jax.jit(attribute)(images), attribute(images), atol=1e-6)


@pytest.mark.parametrize("devices", [1, 4])
def test_results_of_a_method_are_free_to_move(devices, monkeypatch):
    """So that they can be explained again, on all devices."""
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:devices])
    images = jnp.ones((1, 4, 4, 3))
    found = explain.integrated_gradients(lambda images: images.sum(axis=(1, 2)), images, 1, steps=5)
    assert not found.committed
