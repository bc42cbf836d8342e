"""The model that a configuration describes."""

import jax.numpy as jnp
from flax import linen as nn

from jaxvit.config import ModelConfig, of_vit
from jaxvit.models.resnet import make_resnet
from jaxvit.models.transformer import VisionTransformer


def make_model(config: ModelConfig, num_classes: int, axis: str | None = None) -> nn.Module:
    """The configured model, with one logit for each class.

    Args:
      config: complete: nothing that the model has is None.
      num_classes: K; 0 for a model without a head, which gives features.
      axis: the pmap axis of batch statistics, or None under jit.
    """
    common = {
        "img_size": config.img_size,
        "in_channels": config.in_channels,
        "num_classes": num_classes,
        "dtype": jnp.dtype(config.dtype),
    }
    if not config.is_vit:
        return make_resnet(config.name, stem=config.stem, axis=axis, **common)
    options = of_vit(config)
    return VisionTransformer(**common, init_scheme=options.pop("init"), **options)
