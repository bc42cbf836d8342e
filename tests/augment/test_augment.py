"""The pipeline of augmentations: shapes, targets, keys, and the choice of Mixup or CutMix."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvit.augment.blur import apply_blur, draw_blur
from jaxvit.augment.colour import apply_colour_jitter, apply_grey, draw_colour_jitter, draw_grey
from jaxvit.augment.cutmix import apply_cutmix, draw_cutmix
from jaxvit.augment.cutout import apply_cutout, draw_cutout
from jaxvit.augment.geometry import (
    apply_flip,
    apply_random_resized_crop,
    draw_flip,
    draw_random_resized_crop,
)
from jaxvit.augment.mixup import apply_mixup, draw_mixup
from jaxvit.augment.normalize import from_bytes, normalize, standardize, to_bytes
from jaxvit.augment.pipeline import make_augment
from jaxvit.augment.rand_augment import apply_rand_augment, draw_rand_augment
from jaxvit.augment.rotation import apply_rotation, draw_rotation
from jaxvit.augment.shift import apply_shift, draw_shift
from jaxvit.augment.trivial_augment import apply_trivial_augment, draw_trivial_augment
from jaxvit.config import AugmentConfig
from jaxvit.objectives.targets import smooth_labels

EVERYTHING = AugmentConfig(
    crop_scale=(0.3, 1.0), crop_ratio=(0.4, 0.6), flip_p=0.5, cutout_holes=2, cutout_length=3,
    mixup_alpha=0.4, cutmix_alpha=0.3, cutmix_p=0.8,
)  # fmt: skip
FIXED = {name: getattr(EVERYTHING, name) for name in ("crop_ratio", "cutout_length", "cutmix_p")}
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def batch(size=7, height=12, width=20):
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (size, height, width, 3)), jnp.uint8)
    return images, smooth_labels(jnp.arange(size) % 5, 5, 0.1)


SWITCHES = ("crop_scale", "flip_p", "cutout_holes", "mixup_alpha", "cutmix_alpha")


@pytest.mark.parametrize("names", [(), *itertools.combinations(SWITCHES, 2), SWITCHES])
def test_any_subset_of_augmentations_keeps_shapes_and_targets_that_sum_to_one(names):
    """With rectangular images and an odd batch size: every pair of augmentations, none, and all."""
    images, targets = batch()
    config = AugmentConfig(**FIXED, **{n: getattr(EVERYTHING, n) for n in names})
    out, soft = make_augment(config, MEAN, STD)(jax.random.key(1), images, targets)
    assert out.shape == images.shape
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-5)
    assert jnp.isfinite(out).all()
    expected = (np.asarray(images) / 255 - np.array(MEAN)) / np.array(STD)
    assert bool(names) != np.allclose(out, expected, atol=1e-5)


def expected_batch(name, key, images, targets):
    """A normalised batch after one augmentation, drawn with the key that the pipeline gives it."""
    shape = images.shape[:3]
    config = EVERYTHING
    crop, flip, cutout, mixup, cutmix, _ = jax.random.split(key, 6)
    apply, draw = {
        "crop_scale": (
            apply_random_resized_crop,
            lambda: draw_random_resized_crop(crop, *shape, config.crop_scale, config.crop_ratio),
        ),
        "flip_p": (apply_flip, lambda: draw_flip(flip, shape[0], config.flip_p)),
        "cutout_holes": (apply_cutout, lambda: draw_cutout(cutout, *shape, 2, 3)),
        "mixup_alpha": (apply_mixup, lambda: draw_mixup(mixup, shape[0], config.mixup_alpha)),
        "cutmix_alpha": (apply_cutmix, lambda: draw_cutmix(cutmix, *shape, 0.3, config.cutmix_p)),
    }[name]
    return apply(images, targets, draw())


@pytest.mark.parametrize("name", SWITCHES)
def test_each_augmentation_alone_is_its_draw_applied_to_normalised_images(name):
    images, targets = batch()
    config = AugmentConfig(**FIXED, **{name: getattr(EVERYTHING, name)})
    found = make_augment(config, MEAN, STD)(jax.random.key(1), images, targets)
    expected = expected_batch(name, jax.random.key(1), normalize(images, MEAN, STD), targets)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


ON_PIXELS = {
    "pad": {"pad": 4},
    "rotate": {"rotate": 20.0, "rotate_interpolation": "bilinear"},
    "trivial": {"trivial": True},
    "rand": {"rand_ops": 2, "rand_magnitude": 20},
    "jitter": {
        "brightness": 0.4, "contrast": 0.3, "saturation": 0.2, "hue": 0.1, "jitter_p": 0.7,
    },
    "grey": {"grey_p": 0.5},
    "blur": {"blur_p": 0.5, "blur_sigma": (0.5, 1.5), "blur_kernel": 5},
}  # fmt: skip


def changed_pixels(name, key, pixels, targets):
    """Pixels in [0, 1] after one augmentation, drawn with the key that the pipeline gives it."""
    size, black = len(pixels), jnp.zeros(3)
    number = {
        "pad": 6, "rotate": 7, "trivial": 8, "rand": 8, "jitter": 9, "grey": 10, "blur": 11,
    }  # fmt: skip
    key = jax.random.fold_in(key, number[name])
    if name in ("trivial", "rand"):
        apply, draw = {
            "trivial": (apply_trivial_augment, lambda: draw_trivial_augment(key, size)),
            "rand": (apply_rand_augment, lambda: draw_rand_augment(key, size, 2, 20)),
        }[name]
        return from_bytes(apply(to_bytes(pixels), targets, draw())[0])
    apply, draw, *more = {
        "pad": (apply_shift, lambda: draw_shift(key, size, 4), 4, black),
        "rotate": (apply_rotation, lambda: draw_rotation(key, size, 20.0), black, "bilinear"),
        "jitter": (
            apply_colour_jitter, lambda: draw_colour_jitter(key, size, 0.4, 0.3, 0.2, 0.1, 0.7)
        ),
        "grey": (apply_grey, lambda: draw_grey(key, size, 0.5)),
        "blur": (apply_blur, lambda: draw_blur(key, size, (0.5, 1.5), 0.5), 5),
    }[name]  # fmt: skip
    return apply(pixels, targets, draw(), *more)[0]


@pytest.mark.parametrize("name", ON_PIXELS)
def test_each_augmentation_of_pixels_comes_before_normalisation(name):
    images, targets = batch()
    config, key = AugmentConfig(**ON_PIXELS[name]), jax.random.key(1)
    found, same = make_augment(config, MEAN, STD)(key, images, targets)
    pixels = changed_pixels(name, key, from_bytes(images), targets)
    assert not np.allclose(pixels, from_bytes(images), atol=0.05)
    np.testing.assert_allclose(found, standardize(pixels, MEAN, STD), atol=2e-5)
    np.testing.assert_array_equal(same, targets)


def test_together_they_come_in_the_order_of_torchvisions_recipes():
    """Crop, shift, flip, rotation, operations, jitter, grey, blur, normalisation, Cutout."""
    images, targets = batch()
    names = ("pad", "rotate", "trivial", "jitter", "grey", "blur")
    options = {k: v for name in names for k, v in ON_PIXELS[name].items()}
    config = AugmentConfig(crop_scale=(0.3, 1.0), flip_p=0.5, cutout_holes=2, **FIXED, **options)
    key = jax.random.key(3)
    found, _ = make_augment(config, MEAN, STD)(key, images, targets)
    pixels = expected_batch("crop_scale", key, from_bytes(images), targets)[0]
    pixels = changed_pixels("pad", key, pixels, targets)
    pixels = expected_batch("flip_p", key, pixels, targets)[0]
    for name in names[1:]:
        pixels = changed_pixels(name, key, pixels, targets)
    expected, _ = expected_batch("cutout_holes", key, standardize(pixels, MEAN, STD), targets)
    # Rounding before TrivialAugment's bytes can decide about one of them.
    assert (np.abs(np.asarray(found - expected)) > 1e-4).mean() < 0.01


def test_no_augmentation_takes_the_key_of_another():
    key = jax.random.key(5)
    keys = [*jax.random.split(key, 6), *(jax.random.fold_in(key, n) for n in range(6, 12))]
    assert len({tuple(jax.random.key_data(each).tolist()) for each in keys}) == 12


@pytest.mark.parametrize("name", ["pad", "rotate", "trivial", "rand", "jitter"])
def test_images_of_a_batch_and_batches_are_drawn_for_one_by_one(name):
    images = jnp.broadcast_to(batch()[0][:1], (12, 12, 20, 3))
    augment = make_augment(AugmentConfig(**ON_PIXELS[name]), MEAN, STD)
    first, second = (augment(jax.random.key(k), images, jnp.eye(12))[0] for k in (0, 1))
    assert len(np.unique(np.asarray(first).reshape(12, -1), axis=0)) >= 5
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", ON_PIXELS)
def test_images_of_one_channel_are_augmented_too(name):
    images = batch()[0][..., :1]
    augment = make_augment(AugmentConfig(**ON_PIXELS[name]), (0.5,), (0.2,))
    out, _ = augment(jax.random.key(0), images, jnp.eye(7))
    assert out.shape == images.shape
    unchanged = np.allclose(out, normalize(images, (0.5,), (0.2,)), atol=1e-5)
    assert unchanged == (name == "grey")


def test_bytes_are_the_nearest_and_what_floats_were_made_of():
    pixels = jnp.arange(256, dtype=jnp.uint8).reshape(1, 16, 16, 1)
    for part in (-0.4, 0.0, 0.4):  # of a byte, as crops leave them
        np.testing.assert_array_equal(to_bytes(from_bytes(pixels) + part / 255), pixels)


def test_a_cutout_hole_has_the_mean_colour():
    config = AugmentConfig(cutout_holes=1, cutout_length=99)  # covers the image from any centre
    out, _ = make_augment(config, MEAN, STD)(jax.random.key(0), *batch())
    middle = np.asarray(out)[:, 6, 10]
    np.testing.assert_array_equal(middle, 0)


def test_equal_keys_give_equal_batches_and_different_keys_different_ones():
    augment = jax.jit(make_augment(EVERYTHING, MEAN, STD))
    first, second, third = (augment(jax.random.key(k), *batch())[0] for k in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)


def test_a_batch_gets_mixup_or_cutmix_never_both_nor_neither():
    config = AugmentConfig(mixup_alpha=1.0, cutmix_alpha=1.0, cutmix_p=1.0, cutmix_share=0.5)
    augment = jax.jit(make_augment(config, (0.0,), (1.0,)))
    # Image i has the grey level 16 i in every pixel: Mixup gives other levels, CutMix does not.
    levels = jnp.arange(16, dtype=jnp.uint8) * 16
    images = jnp.broadcast_to(levels[:, None, None, None], (16, 8, 8, 1))
    kinds = []
    for seed in range(40):
        out, _ = augment(jax.random.key(seed), images, jnp.eye(16))
        found = np.asarray(out * 255)
        is_level = np.isclose(found[..., None], np.asarray(levels), atol=1e-2).any(-1)
        kinds.append("cutmix" if is_level.all() else "mixup")
    assert 8 < kinds.count("mixup") < 32


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_cutmix_share_0_is_mixup_alone_and_1_is_cutmix_alone(share):
    config = AugmentConfig(mixup_alpha=1.0, cutmix_alpha=1.0, cutmix_p=1.0, cutmix_share=share)
    alone = replace(config, **{"mixup_alpha" if share else "cutmix_alpha": 0.0})
    for seed in range(5):
        both = make_augment(config, MEAN, STD)(jax.random.key(seed), *batch())
        one = make_augment(alone, MEAN, STD)(jax.random.key(seed), *batch())
        for found, expected in zip(both, one, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-6)


def test_augmentation_is_traced_without_a_loop_over_examples():
    """The number of operations does not depend on the batch size, and none runs on the host."""
    augment = make_augment(EVERYTHING, MEAN, STD)
    small, large = (
        jax.make_jaxpr(augment)(jax.random.key(0), *batch(size)).jaxpr.eqns for size in (4, 64)
    )
    assert len(small) == len(large)


@pytest.mark.parametrize("name", ["cutout_holes", "cutmix_alpha"])
def test_boxes_are_drawn_for_the_size_that_the_crop_leaves(name):
    (images, targets), key = batch(), jax.random.key(1)  # 12 x 20, cut to 8 x 8
    config = AugmentConfig(crop_scale=(0.3, 1.0), cutout_length=3, cutmix_p=1.0, **{name: 1})
    plain = make_augment(replace(config, **{name: 0}), MEAN, STD, 8)(key, images, targets)
    _, _, cutout, _, cutmix, _ = jax.random.split(key, 6)
    if name == "cutout_holes":
        expected = apply_cutout(*plain, draw_cutout(cutout, 7, 8, 8, 1, 3))
    else:
        expected = apply_cutmix(*plain, draw_cutmix(cutmix, 7, 8, 8, 1.0, 1.0))
    found = make_augment(config, MEAN, STD, 8)(key, images, targets)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
