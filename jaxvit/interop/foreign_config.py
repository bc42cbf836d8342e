"""Configuration files of other programs, as settings: see jaxvit.interop.settings.NAMES.

What no value here expresses is handed on as it is, or as a text that names it: the rules in
jaxvit.interop.settings refuse it, unless an option gives the value. Another activation or pooling
is refused here in any case: the model would be another one.
"""

import math
from collections.abc import Mapping
from typing import Any

from jaxvit.data.preprocessing import FILTERS
from jaxvit.errors import UserError
from jaxvit.interop.layout import OTHER_POOL

GELU_NAMES = {
    "gelu": "erf", "gelu_python": "erf", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh",
    "gelu_fast": "tanh", "gelu_tanh": "tanh", "gelu_erf": "erf",
}  # fmt: skip
OTHER_SCALE = "of pixels that are not divided by 255"
TIMM_POOLS = {"token": "cls", "avg": "mean"}
CROP_MODES = {None: "short_side", "center": "short_side", "squash": "squash"}
PILLOW_FILTERS = {int(number): name for name, number in FILTERS.items()}


def from_hf(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of transformers' config.json."""
    if not config:
        return {}
    names = config.get("id2label")
    if isinstance(names, dict):
        try:
            names = [str(names[key]) for key in sorted(names, key=int)]
        except ValueError:
            names = None
        if names and all(name == f"LABEL_{i}" for i, name in enumerate(names)):
            names = None  # transformers' place holders
    return {
        "num_heads": config.get("num_attention_heads"),
        "norm_eps": config.get("layer_norm_eps"),
        "gelu": _gelu(config.get("hidden_act")),
        "img_size": _side(config.get("image_size")),
        "class_names": names or None,
    }


def from_hf_processor(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of transformers' preprocessor_config.json, of any generation."""
    if not values:
        return {}
    found: dict[str, Any] = {"mean": values.get("image_mean"), "std": values.get("image_std")}
    if values.get("do_normalize") is False:
        found |= {"mean": [0.0] * 3, "std": [1.0] * 3}
    factor = values.get("rescale_factor") or 1 / 255
    if values.get("do_rescale") is False or not math.isclose(factor, 1 / 255, rel_tol=1e-4):
        found |= {"mean": OTHER_SCALE, "std": OTHER_SCALE}
    size, crop = values.get("size"), values.get("crop_size")
    cropped = values.get("do_center_crop", False)
    if isinstance(size, dict) and "shortest_edge" in size:
        found["resize"], resized = "short_side", size["shortest_edge"]
    else:
        found["resize"], resized = "squash", _side(size)
    if cropped and not isinstance(size, dict):
        found["resize"] = "short_side"  # an int was the shorter side for those that crop
    if resized:
        found["crop_share"] = crop_share(_side(crop) or resized, resized) if cropped else 1.0
    if values.get("do_resize") is False:
        found["resize"] = "none"
    resample = values.get("resample")
    found["interpolation"] = PILLOW_FILTERS.get(resample, resample)
    return found


def from_timm(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of timm's config.json.

    Raises:
      UserError: the pooling is none that a model here has.
    """
    pretrained = config.get("pretrained_cfg", config)
    arguments = config.get("model_args") or {}
    pool = config.get("global_pool", arguments.get("global_pool"))
    if pool not in (None, "", *TIMM_POOLS):
        raise UserError(
            f"config.json has global_pool {pool!r}, which no model here has ({OTHER_POOL}, or "
            "another): choose weights that pool the class token"
        )
    size, mode = pretrained.get("input_size"), pretrained.get("crop_mode") or None
    return {
        "num_heads": arguments.get("num_heads"),
        "gelu": _gelu(arguments.get("act_layer")),
        "pool": TIMM_POOLS.get(pool),
        "img_size": _side(size[1:] if size else None),
        "mean": pretrained.get("mean"),
        "std": pretrained.get("std"),
        "resize": CROP_MODES.get(mode, mode) if pretrained.get("mean") else None,
        "crop_share": pretrained.get("crop_pct"),
        "interpolation": pretrained.get("interpolation") or None,
        "class_names": pretrained.get("label_names"),
    }


def crop_share(size: int, resized: int) -> float:
    """The share s with floor(size / s) == resized, as Geometry computes it."""
    share = size / resized
    while math.floor(size / share) < resized:
        share = math.nextafter(share, 0)
    return share


def _gelu(name: Any) -> str | None:
    if name is not None and name not in GELU_NAMES:
        raise UserError(
            f"the configuration has the activation {name!r}, which no model here has: choose "
            f"weights trained with {' or '.join(GELU_NAMES)}"
        )
    return GELU_NAMES.get(name)


def _side(size: Any) -> int | None:
    """The side of a square given as 224, [224, 224] or {"height": 224, "width": 224}."""
    if isinstance(size, dict):
        size = [size.get("height"), size.get("width")]
    if isinstance(size, (list, tuple)):
        size = size[0] if len(set(size)) == 1 else None
    return size if isinstance(size, int) else None
