"""The augmentation of a training step: a key and a batch to augmented images and soft targets."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from jaxvit.augment.boxes import Box
from jaxvit.augment.cutmix import CutmixDraw, apply_cutmix, draw_cutmix
from jaxvit.augment.cutout import apply_cutout, draw_cutout
from jaxvit.augment.geometry import (
    apply_flip,
    apply_random_resized_crop,
    draw_flip,
    draw_random_resized_crop,
)
from jaxvit.augment.mixup import MixupDraw, apply_mixup, draw_mixup
from jaxvit.augment.normalize import normalize
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

    The order is fixed: normalise, crop, flip, Cutout, Mixup, CutMix. Cutout comes after
    normalisation, so a hole has the mean colour. If Mixup and CutMix are both on, each batch gets
    one of them: see choose_one. An augmentation that is off is not in the compiled step.

    Args:
      config: see AugmentConfig.
      mean, std: see normalize.
      size: S, to which crops are resized; None for that of the images, which without a crop is the
        only one.

    Returns:
      augment(key, images, targets) -> (images, targets), with images uint8 (B, H, W, C) before and
      float32 (B, S, S, C) after, and targets (B, K) whose rows sum to 1.
    """
    mixes = config.mixup_alpha > 0
    cuts = config.cutmix_alpha > 0 and config.cutmix_p > 0

    def augment(
        key: jax.Array, images: UInt8[Array, "B H W C"], targets: Float[Array, "B K"]
    ) -> tuple[Float[Array, "B S T C"], Float[Array, "B K"]]:
        chex.assert_rank((images, targets), (4, 2))
        chex.assert_equal_shape_prefix((images, targets), 1)
        batch_size, height, width, _ = images.shape
        # Each augmentation has its own key, so switching one off does not change other draws.
        key_crop, key_flip, key_cutout, key_mixup, key_cutmix, key_share = jax.random.split(key, 6)
        batch = normalize(images, mean, std), targets
        if config.crop_scale != (1.0, 1.0):
            crop = draw_random_resized_crop(
                key_crop, batch_size, height, width, config.crop_scale, config.crop_ratio
            )
            batch = apply_random_resized_crop(*batch, crop, size)
            height, width = batch[0].shape[1:3]
        if config.flip_p > 0:
            batch = apply_flip(*batch, draw_flip(key_flip, batch_size, config.flip_p))
        if config.cutout_holes > 0:
            holes = draw_cutout(
                key_cutout, batch_size, height, width, config.cutout_holes, config.cutout_length
            )
            batch = apply_cutout(*batch, holes)
        mixup = cutmix = None
        if mixes:
            mixup = draw_mixup(key_mixup, batch_size, config.mixup_alpha)
        if cuts:
            cutmix = draw_cutmix(
                key_cutmix, batch_size, height, width, config.cutmix_alpha, config.cutmix_p
            )
        if mixes and cuts:
            mixup, cutmix = choose_one(key_share, mixup, cutmix, config.cutmix_share)
        if mixes:
            batch = apply_mixup(*batch, mixup)
        if cuts:
            batch = apply_cutmix(*batch, cutmix)
        return batch

    return augment


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
