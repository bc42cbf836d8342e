"""The model that a configuration describes."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxvit.config import OF_BLOCK, OF_DCGAN, OF_UNET, ModelConfig
from jaxvit.models.dcgan import Discriminator, Generator
from jaxvit.models.resnet import LAYERS, ResNet
from jaxvit.models.resnet_with_attention import ResNetWithAttention
from jaxvit.models.transformer import VisionTransformer
from jaxvit.models.unet import UNet

OF_VIT = (
    *OF_BLOCK, "num_layers", "activation_dropout", "attention_dropout", "projection_dropout",
    "embedding_dropout", "drop_path", "norm_eps", "gelu", "layer_scale", "register_tokens",
    "qkv_bias", "pool", "remat", "patch_norm",
)  # fmt: skip


def make_generator(
    config: ModelConfig, num_classes: int, times: int, axis: str | None = None
) -> nn.Module:
    """The configured network that makes images, without a discriminator.

    Args:
      config: complete, of a generator.
      num_classes: K, of which it makes use where it is conditional.
      times: T of diffusion.
      axis: the pmap axis of batch statistics, or None under jit.
    """
    common = _of_images(config, num_classes)
    if config.name == "dcgan":
        return Generator(**common, z_dim=config.z_dim, axis=axis)
    options = {name: getattr(config, name) for name in OF_UNET if name not in OF_DCGAN}
    return UNet(**common, **options, times=times)


def make_discriminator(config: ModelConfig, num_classes: int, axis: str | None) -> Discriminator:
    """The network that a DCGAN's generator is trained against; see make_generator."""
    return Discriminator(**_of_images(config, num_classes), axis=axis)


def _of_images(config: ModelConfig, num_classes: int) -> dict[str, Any]:
    return {
        "img_size": config.img_size,
        "in_channels": config.in_channels,
        "width": config.width,
        "num_classes": num_classes if config.conditional else 0,
        "dtype": jnp.dtype(config.dtype),
    }


def make_model(
    config: ModelConfig,
    num_classes: int,
    axis: str | None = None,
    frozen_backbone: bool = False,
) -> nn.Module:
    """The configured model, with one logit for each class.

    Args:
      config: complete: nothing that the model has is None.
      num_classes: K; 0 for a model without a head, which gives features.
      axis: the pmap axis of batch statistics, or None under jit.
      frozen_backbone: whether all but the head, or the attention block, is frozen.
    """
    common = {
        "img_size": config.img_size,
        "in_channels": config.in_channels,
        "num_classes": num_classes,
        "dtype": jnp.dtype(config.dtype),
    }
    if config.is_vit:
        options = {name: getattr(config, name) for name in OF_VIT}
        return VisionTransformer(**common, init_scheme=config.init, **options)
    common |= {
        "layers": LAYERS[config.name],
        "stem": config.stem,
        "width": config.width,
        "axis": axis,
        "frozen_backbone": frozen_backbone,
    }
    if config.attention == "none":
        return ResNet(**common)
    options = {name: getattr(config, name) for name in OF_BLOCK}
    return ResNetWithAttention(**common, attention=config.attention, **options)
