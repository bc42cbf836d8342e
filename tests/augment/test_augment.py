"""The pipeline of augmentations: shapes, targets, keys, and the choice of Mixup or CutMix."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvit.augment.cutmix import apply_cutmix, draw_cutmix
from jaxvit.augment.cutout import apply_cutout, draw_cutout
from jaxvit.augment.geometry import (
    apply_flip,
    apply_random_resized_crop,
    draw_flip,
    draw_random_resized_crop,
)
from jaxvit.augment.mixup import apply_mixup, draw_mixup
from jaxvit.augment.normalize import normalize
from jaxvit.augment.pipeline import make_augment
from jaxvit.config import AugmentConfig
from jaxvit.objectives.targets import smooth_labels

EVERYTHING = AugmentConfig(
    crop_scale=(0.3, 1.0), flip_p=0.5, cutout_holes=2, cutout_length=3, mixup_alpha=0.4,
    cutmix_alpha=1.0,
)  # fmt: skip
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
    config = AugmentConfig(cutout_length=3, **{n: getattr(EVERYTHING, n) for n in names})
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
        "cutmix_alpha": (apply_cutmix, lambda: draw_cutmix(cutmix, *shape, 1.0, config.cutmix_p)),
    }[name]
    return apply(images, targets, draw())


@pytest.mark.parametrize("name", SWITCHES)
def test_each_augmentation_alone_is_its_draw_applied_to_normalised_images(name):
    images, targets = batch()
    config = AugmentConfig(cutout_length=3, **{name: getattr(EVERYTHING, name)})
    found = make_augment(config, MEAN, STD)(jax.random.key(1), images, targets)
    expected = expected_batch(name, jax.random.key(1), normalize(images, MEAN, STD), targets)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


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
