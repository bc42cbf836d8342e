"""What the methods are given."""

import jax
import jax.numpy as jnp
import pytest

from jaxvit.explain.methods import Setting


@pytest.mark.parametrize(("size", "window"), [(224, 16), (96, 7), (12, 2)])
def test_occlusions_window_is_a_fourteenth_of_the_image(size, window):
    image = jnp.zeros((1, size, size, 3))
    assert Setting(None, {}, image, 0, jax.random.key(0), 1).window == window
