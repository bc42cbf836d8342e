"""The augmentation of a training step: a key and a batch to augmented images and soft targets."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from jaxvit.augment.blur import apply_blur, draw_blur
from jaxvit.augment.boxes import Box
from jaxvit.augment.colour import apply_colour_jitter, apply_grey, draw_colour_jitter, draw_grey
from jaxvit.augment.cutmix import CutmixDraw, apply_cutmix, draw_cutmix
from jaxvit.augment.cutout import apply_cutout, draw_cutout
from jaxvit.augment.geometry import (
    apply_flip,
    apply_random_resized_crop,
    draw_flip,
    draw_random_resized_crop,
    resized,
)
from jaxvit.augment.mixup import MixupDraw, apply_mixup, draw_mixup
from jaxvit.augment.normalize import from_bytes, normalize, standardize, to_bytes
from jaxvit.augment.rand_augment import apply_rand_augment, draw_rand_augment
from jaxvit.augment.rotation import apply_rotation, draw_rotation
from jaxvit.augment.shift import apply_shift, draw_shift
from jaxvit.augment.trivial_augment import apply_trivial_augment, draw_trivial_augment
from jaxvit.config import AugmentConfig
from jaxvit.shapes import Array, Float, UInt8

Augment = Callable[[jax.Array, Array, Array], tuple[Array, Array]]


def make_augment(
    config: AugmentConfig,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    size: int | None = None,
) -> Augment:
    """Composes the augmentations of a config into one function of a key and a batch.

    The order is fixed, that of torchvision's recipes: resized crop, shift, flip, rotation,
    TrivialAugment or RandAugment, colour jitter, grey, blur, normalise, Cutout, Mixup, CutMix.
    Cutout comes after normalisation, so a hole has the mean colour. If Mixup and CutMix are both
    on, each batch gets one of them: see choose_one. An augmentation that is off is not in the
    compiled step.

    What comes between the crop and Cutout is torchvision's of pixels in [0, 1] or of bytes, to
    which a resized crop is rounded there. Where only crops and flips do, images are normalised
    first: the same but for rounding, by which older runs would change.

    Args:
      config: see AugmentConfig.
      mean, std: see normalize.
      size: S, to which crops, or without them whole images, are resized; None for that of the
        images.

    Returns:
      augment(key, images, targets) -> (images, targets), with images uint8 (B, H, W, C) before and
      float32 (B, S, S, C) after, and targets (B, K) whose rows sum to 1.
    """

    def augment(
        key: jax.Array, images: UInt8[Array, "B H W C"], targets: Float[Array, "B K"]
    ) -> tuple[Float[Array, "B S T C"], Float[Array, "B K"]]:
        chex.assert_rank((images, targets), (4, 2))
        chex.assert_equal_shape_prefix((images, targets), 1)
        batch_size, height, width, _ = images.shape
        # Each augmentation has its own key, so switching one off does not change other draws.
        key_crop, key_flip, key_cutout, key_mixup, key_cutmix, key_share = jax.random.split(key, 6)
        # fold_in of a number below 6 is one of those six.
        key_pad, key_rotate, key_operations, key_jitter, key_grey, key_blur = (
            jax.random.fold_in(key, number) for number in range(6, 12)
        )
        scaled = from_bytes(images) if config.on_pixels else normalize(images, mean, std)
        batch = scaled, targets
        if config.crop_scale != (1.0, 1.0):
            crop = draw_random_resized_crop(
                key_crop, batch_size, height, width, config.crop_scale, config.crop_ratio
            )
            batch = apply_random_resized_crop(*batch, crop, size)
            height, width = batch[0].shape[1:3]
        elif size is not None:
            batch = resized(batch[0], size), targets
            height = width = size
        black = jnp.zeros(images.shape[-1])
        if config.pad > 0:
            shift = draw_shift(key_pad, batch_size, config.pad)
            batch = apply_shift(*batch, shift, config.pad, black)
        if config.flip_p > 0:
            batch = apply_flip(*batch, draw_flip(key_flip, batch_size, config.flip_p))
        if config.rotate > 0:
            rotation = draw_rotation(key_rotate, batch_size, config.rotate)
            batch = apply_rotation(*batch, rotation, black, config.rotate_interpolation)
        if config.trivial:
            draw = draw_trivial_augment(key_operations, batch_size)
            batch = on_bytes(apply_trivial_augment, *batch, draw)
        if config.rand_ops > 0:
            draw = draw_rand_augment(
                key_operations, batch_size, config.rand_ops, config.rand_magnitude
            )
            batch = on_bytes(apply_rand_augment, *batch, draw)
        if config.jitters:
            jitter = draw_colour_jitter(
                key_jitter, batch_size, config.brightness, config.contrast, config.saturation,
                config.hue, config.jitter_p,
            )  # fmt: skip
            batch = apply_colour_jitter(*batch, jitter)
        if config.grey_p > 0:
            batch = apply_grey(*batch, draw_grey(key_grey, batch_size, config.grey_p))
        if config.blur_p > 0:
            blur = draw_blur(key_blur, batch_size, config.blur_sigma, config.blur_p)
            batch = apply_blur(*batch, blur, config.blur_kernel)
        if config.on_pixels:
            batch = standardize(batch[0], mean, std), targets
        if config.cutout_holes > 0:
            holes = draw_cutout(
                key_cutout, batch_size, height, width, config.cutout_holes, config.cutout_length
            )
            batch = apply_cutout(*batch, holes)
        mixup = cutmix = None
        if config.mixes:
            mixup = draw_mixup(key_mixup, batch_size, config.mixup_alpha)
        if config.cuts:
            cutmix = draw_cutmix(
                key_cutmix, batch_size, height, width, config.cutmix_alpha, config.cutmix_p
            )
        if config.mixes and config.cuts:
            mixup, cutmix = choose_one(key_share, mixup, cutmix, config.cutmix_share)
        if config.mixes:
            batch = apply_mixup(*batch, mixup)
        if config.cuts:
            batch = apply_cutmix(*batch, cutmix)
        return batch

    return augment


def on_bytes(apply, images: Float[Array, "B H W C"], targets: Float[Array, "B K"], draw):
    """An apply_<name> of bytes, for images in [0, 1]."""
    changed, targets = apply(to_bytes(images), targets, draw)
    return from_bytes(changed), targets


def choose_one(
    key: jax.Array, mixup: MixupDraw, cutmix: CutmixDraw, cutmix_share: float
) -> tuple[MixupDraw, CutmixDraw]:
    """Disables one of two draws: Mixup's with probability cutmix_share, otherwise CutMix's.

    Mixup with lam 1 and CutMix with empty boxes return the batch unchanged. The compiled step
    therefore needs no branch.

    Args:
      key: of jax.random.
      mixup, cutmix: draws for the same batch.
      cutmix_share: probability of CutMix, in [0, 1].
    """
    take_cutmix = jax.random.bernoulli(key, cutmix_share)
    box = Box(*(jnp.where(take_cutmix, edge, 0) for edge in cutmix.box))
    return (
        mixup._replace(lam=jnp.where(take_cutmix, 1.0, mixup.lam)),
        cutmix._replace(box=box),
    )
