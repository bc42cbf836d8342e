"""config.json and preprocessor_config.json as transformers reads them."""

import math
from typing import Any

from jaxvit.data.preprocessing import FILTERS, Preprocessing
from jaxvit.interop.pretrained import Pretrained
from jaxvit.interop.settings import CONFIG, PREPROCESSOR

ACTIVATIONS = {"erf": "gelu", "tanh": "gelu_pytorch_tanh"}


def files(pretrained: Pretrained) -> tuple[dict[str, dict[str, Any]], set[str]]:
    """The files by name, and the settings that they tell.

    The class is ViT or Dinov2, with registers or without; AutoModelForImageClassification and
    AutoImageProcessor find it.
    """
    config, classes = pretrained.model_config, pretrained.num_classes
    dino = config.layer_scale > 0
    family = "ViT" if not dino else "Dinov2WithRegisters" if config.register_tokens else "Dinov2"
    kind = {"ViT": "vit", "Dinov2": "dinov2", "Dinov2WithRegisters": "dinov2_with_registers"}
    names = pretrained.class_names or tuple(f"LABEL_{i}" for i in range(classes))
    values: dict[str, Any] = {
        "architectures": [family + ("ForImageClassification" if classes else "Model")],
        "model_type": kind[family],
        "hidden_size": config.embed_dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "intermediate_size": int(config.embed_dim * config.mlp_ratio),
        "hidden_act": ACTIVATIONS[config.gelu],
        "layer_norm_eps": config.norm_eps,
        "image_size": config.img_size,
        "patch_size": config.patch_size,
        "num_channels": config.in_channels,
        "qkv_bias": config.qkv_bias,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    if dino:
        values |= {"mlp_ratio": int(config.mlp_ratio), "use_mask_token": False}
        values["use_swiglu_ffn"] = False
    if config.register_tokens:
        values["num_register_tokens"] = config.register_tokens
    if classes:
        values["id2label"] = {str(i): name for i, name in enumerate(names)}
        values["label2id"] = {name: i for i, name in enumerate(names)}
    said = {"norm_eps", "gelu", "mean", "std", "resize", "crop_share", "interpolation"}
    return {CONFIG: values, PREPROCESSOR: processor(pretrained.preprocessing)}, said


def processor(preprocessing: Preprocessing) -> dict[str, Any]:
    """preprocessor_config.json: BitImageProcessor can crop, ViTImageProcessor cannot."""
    geometry = preprocessing.geometry
    target = math.floor(geometry.size / geometry.crop_share)
    crops = geometry.resize == "short_side" or target != geometry.size
    square = {"height": target, "width": target}
    values: dict[str, Any] = {
        "image_processor_type": "BitImageProcessor" if crops else "ViTImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": target} if geometry.resize == "short_side" else square,
        "resample": int(FILTERS[geometry.interpolation]),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
    }
    if crops:
        values |= {
            "do_center_crop": True,
            "crop_size": {"height": geometry.size, "width": geometry.size},
        }
    return values
