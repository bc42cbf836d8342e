"""Rotations: torchvision's angles, replayed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, RandomRotation
from torchvision.transforms import functional as F

from jaxvit.augment.rotation import RotationDraw, apply_rotation, draw_rotation
from parity_tests.comparison import max_difference, to_nchw, to_nhwc


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize(("height", "width"), [(12, 12), (9, 14)])
def test_replayed_rotations_are_torchvisions(interpolation, height, width):
    torch.manual_seed(0)
    images = torch.rand(30, 3, height, width)
    angles = [RandomRotation.get_params([-35.0, 35.0]) for _ in images]
    fill = [0.1, 0.5, 0.9]
    expected = torch.stack([
        F.rotate(image, angle, InterpolationMode(interpolation), fill=fill)
        for image, angle in zip(images, angles, strict=True)
    ])  # fmt: skip
    draw = RotationDraw(jnp.asarray(angles, jnp.float32))
    found, targets = jax.jit(apply_rotation, static_argnums=4)(
        to_nhwc(images), jnp.eye(30), draw, jnp.asarray(fill), interpolation
    )
    difference = (to_nchw(found) - expected).abs() if torch.is_tensor(found) else np.abs(
        np.asarray(to_nchw(found)) - expected.numpy()
    )  # fmt: skip
    if interpolation == "bilinear":
        assert difference.max() < 2e-5
    else:
        # A position on the border of two pixels may fall to either: rounding decides.
        assert (difference.max(axis=1) > 1e-6).mean() < 2e-3
    np.testing.assert_array_equal(targets, jnp.eye(30))


def test_a_positive_angle_turns_counter_clockwise():
    image = jnp.zeros((1, 5, 5, 1)).at[0, 2, 4, 0].set(1)  # right of the centre
    found, _ = apply_rotation(image, jnp.eye(1), RotationDraw(jnp.array([90.0])), jnp.zeros(1))
    assert found[0, 0, 2, 0] == 1  # above it
    assert found.sum() == 1


def test_angles_are_uniform_between_both_limits():
    degrees = np.asarray(draw_rotation(jax.random.key(0), 5000, 35).degrees)
    assert -35 <= degrees.min() < -34
    assert 34 < degrees.max() <= 35
    assert abs(degrees.mean()) < 1
    assert abs(degrees.std() - 70 / 12**0.5) < 0.5
    assert max_difference(degrees, degrees) == 0
