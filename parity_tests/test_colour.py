"""Colour augmentation: torchvision's draws, replayed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torchvision.transforms import ColorJitter
from torchvision.transforms import functional as F

from jaxvit.augment.colour import (
    ColourDraw,
    apply_colour_jitter,
    apply_grey,
    draw_colour_jitter,
)
from parity_tests.comparison import RATIO, max_difference, to_nchw, to_nhwc

BATCH = 24


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Noise, smooth ramps, a grey image, black and white, in [0, 1]."""
    torch.manual_seed(0)
    images = torch.rand(BATCH, 3, 10, 12)
    images[1] = torch.linspace(0, 1, 12).expand(3, 10, 12)
    images[2], images[3] = 0, 1
    images[4, 0], images[4, 1:] = 1, 0  # pure red
    images[5] = images[5].round()
    return images


def test_replayed_jitter_is_torchvisions(images):
    torch.manual_seed(1)
    jitter = ColorJitter(0.8, 0.8, 0.8, 0.2)
    orders, factors, expected, truth = [], [], [], []
    for image in images:
        exact = image.double()
        order, *drawn = jitter.get_params(
            jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue
        )
        orders.append(order.tolist())
        factors.append(drawn)
        changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        for number in order:
            image = changes[number](image, drawn[number])
            exact = changes[number](exact, drawn[number])
        expected.append(image)
        truth.append(exact)
    draw = ColourDraw(
        *(jnp.asarray(column, jnp.float32) for column in zip(*factors, strict=True)),
        jnp.asarray(orders, jnp.int32),
        jnp.ones(BATCH, bool),
    )
    targets = jnp.eye(BATCH)
    found, same = jax.jit(apply_colour_jitter)(to_nhwc(images), targets, draw)
    # HSV divides by the spread of the channels, so the rounding of grey colours grows in it.
    theirs = max_difference(torch.stack(expected), torch.stack(truth))
    assert max_difference(to_nchw(found), torch.stack(truth)) < max(RATIO * theirs, 1e-6)
    assert theirs < 1e-5
    np.testing.assert_array_equal(same, targets)


@pytest.mark.parametrize("which", range(4))
def test_each_change_alone_is_torchvisions(images, which):
    change = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)[which]
    values = [0.0, 0.3, 1.7, 1.0] if which < 3 else [-0.5, -0.2, 0.13, 0.5]
    for value in values:
        factors = [jnp.full(BATCH, 1.0)] * 3 + [jnp.zeros(BATCH)]
        factors[which] = jnp.full(BATCH, value)
        order = jnp.tile(jnp.arange(4), (BATCH, 1))
        draw = ColourDraw(*factors, order, jnp.ones(BATCH, bool))
        found, _ = apply_colour_jitter(to_nhwc(images), jnp.eye(BATCH), draw)
        # The three others, at rest, are the identity but for the rounding of HSV.
        theirs, truth = change(images, value), change(images.double(), value)
        if which < 3:
            theirs, truth = F.adjust_hue(theirs, 0.0), F.adjust_hue(truth, 0.0)
        limit = max(RATIO * max_difference(theirs, truth), 1e-6)
        assert max_difference(to_nchw(found), truth) < limit, value


def test_images_that_are_not_chosen_stay_as_they_are(images):
    draw = draw_colour_jitter(jax.random.key(0), BATCH, 0.8, 0.8, 0.8, 0.2, p=0.5)
    found, _ = apply_colour_jitter(to_nhwc(images), jnp.eye(BATCH), draw)
    same = [bool((a == b).all()) for a, b in zip(found, to_nhwc(images), strict=True)]
    assert [not each for each in draw.applied] <= same
    assert 5 < sum(bool(x) for x in draw.applied) < 19


def test_draws_cover_torchvisions_ranges_independently():
    draw = draw_colour_jitter(jax.random.key(0), 4000, 0.4, 2.0, 0.1, 0.2)
    for name, low, high in (
        ("brightness", 0.6, 1.4), ("contrast", 0.0, 3.0), ("saturation", 0.9, 1.1),
        ("hue", -0.2, 0.2),
    ):  # fmt: skip
        values = np.asarray(getattr(draw, name))
        assert low <= values.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 0.03 * (high - low)
    assert abs(np.corrcoef(draw.brightness, draw.contrast)[0, 1]) < 0.06
    orders, counts = np.unique(np.asarray(draw.order), axis=0, return_counts=True)
    assert len(orders) == 24
    assert counts.min() > 110


def test_grey_is_torchvisions(images):
    greyed = jnp.arange(BATCH) % 2 == 0
    found, _ = apply_grey(to_nhwc(images), jnp.eye(BATCH), greyed)
    expected = F.rgb_to_grayscale(images, 3)
    assert max_difference(to_nchw(found)[::2], expected[::2]) < 1e-6
    assert max_difference(to_nchw(found)[1::2], images[1::2]) == 0
