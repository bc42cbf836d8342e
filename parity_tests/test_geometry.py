"""Flips, crops and normalisation against torchvision; torch_ref has no file for them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torchvision import transforms
from torchvision.transforms import functional

from jaxvit.augment.geometry import (
    CropDraw,
    FlipDraw,
    apply_flip,
    apply_random_resized_crop,
    draw_flip,
    draw_random_resized_crop,
    resized,
)
from jaxvit.augment.normalize import normalize
from parity_tests.comparison import REPLAY, max_difference, to_nchw, to_nhwc

crop = jax.jit(apply_random_resized_crop, static_argnames="size")
draw_crop = jax.jit(draw_random_resized_crop, static_argnums=(1, 2, 3, 4, 5))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 40), (7, 5)])
def test_replayed_crops_agree_with_torchvision_in_float64(height, width):
    """In float64, because torchvision's interpolation weights in float32 are off by 2e-6."""
    torch.manual_seed(0)
    images = torch.rand(9, 3, height, width)
    crops = [
        transforms.RandomResizedCrop.get_params(x, scale=[0.1, 1.0], ratio=[0.5, 2.0])
        for x in images
    ]
    crops[0] = (0, 0, height, width)  # the whole image, which is returned unchanged
    crops[1] = (height - 1, width - 1, 1, 1)
    expected = torch.stack(
        [
            functional.resized_crop(x.double(), *crop, [height, width], antialias=True)
            for x, crop in zip(images, crops, strict=True)
        ]
    )
    draw = CropDraw(*jnp.asarray(crops, jnp.int32).T)
    found, targets = crop(to_nhwc(images), jnp.eye(9), draw)
    assert max_difference(to_nchw(found), expected) < REPLAY
    assert max_difference(found[0], to_nhwc(images)[0]) < REPLAY
    assert max_difference(targets, np.eye(9)) == 0


@pytest.mark.parametrize("size", [16, 24, 37, 48])
def test_replayed_crops_to_another_size_agree_with_torchvision_in_float64(size):
    """Reduced with antialiasing, and enlarged."""
    torch.manual_seed(0)
    images = torch.rand(9, 3, 40, 37)
    crops = [transforms.RandomResizedCrop.get_params(x, [0.1, 1.0], [0.5, 2.0]) for x in images]
    crops[0] = (0, 0, 40, 37)
    expected = torch.stack(
        [
            functional.resized_crop(x.double(), *crop, [size, size], antialias=True)
            for x, crop in zip(images, crops, strict=True)
        ]
    )
    draw = CropDraw(*jnp.asarray(crops, jnp.int32).T)
    found, _ = crop(to_nhwc(images), jnp.eye(9), draw, size=size)
    assert max_difference(to_nchw(found), expected) < REPLAY


def test_crop_draws_have_the_same_distribution_as_torchvision():
    height, width, scale, ratio = 48, 64, (0.2, 0.9), (0.6, 1.5)
    ours = np.stack(draw_crop(jax.random.key(0), 4000, height, width, scale, ratio))
    torch.manual_seed(0)
    image = torch.zeros(3, height, width)
    theirs = np.array(
        [
            transforms.RandomResizedCrop.get_params(image, scale=list(scale), ratio=list(ratio))
            for _ in range(4000)
        ]
    ).T
    top, left, crop_height, crop_width = ours
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + crop_height <= height).all()
    assert (left + crop_width <= width).all()
    quantiles = np.linspace(0.05, 0.95, 19)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            np.quantile(mine, quantiles), np.quantile(other, quantiles), atol=2.5
        )


def test_a_crop_that_never_fits_is_replaced_by_torchvisions_central_crop():
    image = torch.zeros(3, 10, 100)
    scale, ratio = (0.9, 1.0), (0.5, 2.0)  # no such crop fits an image of 10 x 100
    expected = transforms.RandomResizedCrop.get_params(image, scale=list(scale), ratio=list(ratio))
    found = draw_crop(jax.random.key(0), 3, 10, 100, scale, ratio)
    np.testing.assert_array_equal(np.stack(found, -1), [expected] * 3)


def test_flips_reverse_columns_with_the_given_probability():
    images = torch.rand(6, 3, 4, 5)
    flip = np.array([True, False, True, True, False, False])
    found, _ = apply_flip(to_nhwc(images), jnp.eye(6), FlipDraw(jnp.asarray(flip)))
    expected = torch.where(torch.from_numpy(flip)[:, None, None, None], images.flip(3), images)
    assert max_difference(to_nchw(found), expected) == 0
    assert abs(draw_flip(jax.random.key(0), 4000, 0.3).flip.mean() - 0.3) < 0.03


def test_normalize_equals_torchvisions_to_tensor_then_normalize():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 6, 7, 3), np.uint8)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    expected = torch.stack([transform(image) for image in pixels])
    assert max_difference(to_nchw(normalize(jnp.asarray(pixels), mean, std)), expected) < REPLAY


def test_whole_images_are_resized_as_torchvision_resizes_tensors():
    torch.manual_seed(0)
    images = torch.rand(3, 3, 18, 18)
    for size in (12, 18, 30):
        expected = functional.resize(images.double(), [size, size], antialias=True)
        found = jax.jit(resized, static_argnums=1)(to_nhwc(images), size)
        assert max_difference(to_nchw(found), expected) < REPLAY
