"""Gaussian blur: torchvision's draws, replayed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torchvision.transforms import GaussianBlur
from torchvision.transforms import functional as F

from jaxvit.augment.blur import BlurDraw, apply_blur, draw_blur
from parity_tests.comparison import max_difference, to_nchw, to_nhwc


@pytest.mark.parametrize("kernel_size", [3, 9])
@pytest.mark.parametrize(("height", "width"), [(12, 12), (6, 15)])
def test_replayed_blurs_are_torchvisions(kernel_size, height, width):
    torch.manual_seed(0)
    images = torch.rand(20, 3, height, width)
    sigmas = [GaussianBlur.get_params(0.1, 2.0) for _ in images]
    applied = torch.rand(len(images)) < 0.5
    assert 0 < applied.sum() < len(images)
    expected = torch.stack([
        F.gaussian_blur(image, [kernel_size] * 2, [sigma] * 2) if used else image
        for image, sigma, used in zip(images, sigmas, applied, strict=True)
    ])  # fmt: skip
    draw = BlurDraw(jnp.asarray(sigmas, jnp.float32), jnp.asarray(applied.numpy()))
    found, targets = jax.jit(apply_blur, static_argnums=3)(
        to_nhwc(images), jnp.eye(20), draw, kernel_size
    )
    assert max_difference(to_nchw(found), expected) < 1e-6
    np.testing.assert_array_equal(targets, jnp.eye(20))


def test_draws_have_their_distribution():
    draw = draw_blur(jax.random.key(0), 8000, (0.1, 2.0), 0.3)
    sigma = np.asarray(draw.sigma)
    assert 0.1 <= sigma.min() < 0.11
    assert 1.99 < sigma.max() <= 2.0
    assert abs(sigma.mean() - 1.05) < 0.02
    assert abs(np.asarray(draw.applied).mean() - 0.3) < 0.02
    assert abs(np.corrcoef(sigma, draw.applied)[0, 1]) < 0.05
