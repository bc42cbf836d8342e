"""Crops of padded images: torchvision's draws, replayed."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torchvision.transforms import RandomCrop
from torchvision.transforms import functional as F

from jaxvit.augment.shift import ShiftDraw, apply_shift, draw_shift
from parity_tests.comparison import max_difference, to_nchw, to_nhwc


def test_replayed_crops_of_padded_images_are_torchvisions():
    torch.manual_seed(0)
    images, corners, expected = torch.rand(40, 3, 11, 9), [], []
    for image in images:
        padded = F.pad(image, [4])
        top, left, height, width = RandomCrop.get_params(padded, (11, 9))
        corners.append((top, left))
        expected.append(F.crop(padded, top, left, height, width))
    draw = ShiftDraw(*jnp.asarray(corners, jnp.int32).T)
    found, targets = jax.jit(apply_shift, static_argnums=3)(
        to_nhwc(images), jnp.eye(40), draw, 4, jnp.zeros(3)
    )
    assert max_difference(to_nchw(found), torch.stack(expected)) == 0
    np.testing.assert_array_equal(targets, jnp.eye(40))


def test_the_margin_is_filled_with_the_given_colour():
    fill = jnp.array([0.1, 0.2, 0.3])
    draw = ShiftDraw(jnp.array([0]), jnp.array([4]))  # down by two, and to the left by two
    found, _ = apply_shift(jnp.ones((1, 5, 5, 3)), jnp.eye(1), draw, 2, fill)
    np.testing.assert_allclose(found[0, :2, 0], np.tile(fill, (2, 1)))
    np.testing.assert_allclose(found[0, 2, 3:], np.tile(fill, (2, 1)))
    assert (found[0, 2:, :3] == 1).all()


def test_corners_are_uniform_and_independent():
    draw = draw_shift(jax.random.key(0), 9000, 4)
    for values in draw:
        counts = np.bincount(values, minlength=9)
        assert counts.shape == (9,)
        assert counts.min() > 850
    assert abs(np.corrcoef(draw.top, draw.left)[0, 1]) < 0.05
