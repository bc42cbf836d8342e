"""The model that a configuration describes."""

import jax.numpy as jnp
from flax import linen as nn

from jaxvit.config import OF_BLOCK, ModelConfig
from jaxvit.models.resnet import LAYERS, ResNet
from jaxvit.models.resnet_with_attention import ResNetWithAttention
from jaxvit.models.transformer import VisionTransformer

OF_VIT = (
    *OF_BLOCK, "num_layers", "activation_dropout", "attention_dropout", "projection_dropout",
    "embedding_dropout", "drop_path", "norm_eps", "gelu", "layer_scale", "register_tokens",
    "qkv_bias", "pool", "remat", "patch_norm",
)  # fmt: skip


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
