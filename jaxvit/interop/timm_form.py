"""config.json as timm reads it: timm.create_model("local-dir:PATH", pretrained=True)."""

from typing import Any

from jaxvit.interop.load import Pretrained
from jaxvit.interop.settings import CONFIG

# timm builds one of its named models; model_args replace every number of it.
ARCHITECTURE = "vit_base_patch16_224"
POOLS = {"cls": "token", "mean": "avg"}


def files(pretrained: Pretrained) -> tuple[dict[str, dict[str, Any]], set[str]]:
    """The files by name, and the settings that they tell."""
    config, geometry = pretrained.model_config, pretrained.preprocessing.geometry
    pool = POOLS[config.pool]
    arguments: dict[str, Any] = {
        "img_size": config.img_size,
        "patch_size": config.patch_size,
        "in_chans": config.in_channels,
        "embed_dim": config.embed_dim,
        "depth": config.num_layers,
        "num_heads": config.num_heads,
        "mlp_ratio": config.mlp_ratio,
        "qkv_bias": config.qkv_bias,
        "global_pool": pool,
        "fc_norm": False,
    }
    if config.layer_scale:
        arguments["init_values"] = config.layer_scale
    if config.register_tokens:
        arguments |= {"reg_tokens": config.register_tokens, "no_embed_class": True}
    if config.gelu == "tanh":
        arguments["act_layer"] = "gelu_tanh"
    pretrained_cfg: dict[str, Any] = {
        "input_size": [config.in_channels, config.img_size, config.img_size],
        "fixed_input_size": True,
        "interpolation": geometry.interpolation,
        "crop_pct": geometry.crop_share,
        "crop_mode": "squash" if geometry.resize == "squash" else "center",
        "mean": list(pretrained.preprocessing.mean),
        "std": list(pretrained.preprocessing.std),
        "num_classes": pretrained.num_classes,
        "pool_size": None,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
    }
    if pretrained.class_names:
        pretrained_cfg["label_names"] = list(pretrained.class_names)
    values = {
        "architecture": ARCHITECTURE,
        "num_classes": pretrained.num_classes,
        "num_features": config.embed_dim,
        "global_pool": pool,
        "model_args": arguments,
        "pretrained_cfg": pretrained_cfg,
    }
    return {CONFIG: values}, {"gelu", "mean", "std", "resize", "crop_share", "interpolation"}
