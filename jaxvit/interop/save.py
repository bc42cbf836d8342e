"""Writes a model in the layout of another program, so that it reads it by itself."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from jaxvit.config import ModelConfig
from jaxvit.errors import UserError
from jaxvit.interop import hugging_face_form, resnet, timm_form
from jaxvit.interop.layout import Layout
from jaxvit.interop.load import WHOLE, inside_run
from jaxvit.interop.pretrained import Pretrained
from jaxvit.interop.reading import LAYOUTS, NAMES
from jaxvit.interop.report import joined
from jaxvit.interop.settings import OF_IMAGES, to_metadata
from jaxvit.interop.weights_file import FORMATS, PICKLES, write_weights_file


def save_pretrained(pretrained: Pretrained, path: str | Path, to: str) -> list[str]:
    """Writes weights, preprocessing and class names in a layout.

    What jaxvit needs to read them again is in the file's metadata (safetensors) or in FILE.json
    beside it (npz); reading gives every bit back.

    Args:
      pretrained: of load_pretrained.
      path: a name ending in .safetensors, or .npz for google: a file alone. Otherwise a directory,
        in the form that transformers ("hf") or timm reads by itself.
      to: "timm", "hf", "google", "lukemelas", "vit_pytorch", "torchvision" or "lab".

    Returns:
      Warnings: what readers of the layout assume that is not so for this model.

    Raises:
      UserError: the layout cannot express the model, or the path cannot be written.
    """
    path = Path(path)
    config = pretrained.model_config
    layout = layout_for(config, pretrained.num_classes, to)
    ending = ".npz" if to == "google" else ".safetensors"
    is_file = path.suffix in FORMATS
    if is_file and path.suffix != ending:
        raise UserError(
            f"{path} does not fit the layout {to}, whose files end in {ending}: change the ending, "
            "or give a directory"
        )
    if is_file and path.is_dir():
        raise UserError(f"{path} is a directory, though named as a file: choose another name")
    if path.is_file() and not is_file:
        raise UserError(f"{path} is a file: give a directory, or a name that ends in {ending}")
    if run := inside_run(path):
        raise UserError(
            f"{path} lies in the run {run}, which holds its own files alone: give another"
        )
    if not is_file and path.suffix.lower() in (*FORMATS, *PICKLES, ".json", ".h5", ".onnx"):
        raise UserError(
            f"{path} is named as a file that is not written here: end it in {ending}, or give a "
            "directory"
        )
    others = [name for name in WHOLE if name != f"model{ending}" and (path / name).exists()]
    if not is_file and others:
        raise UserError(
            f"{path} holds {others[0]} already, which would be read in place of what is written: "
            "remove it, or give another directory"
        )
    tensors = to_layout(pretrained, layout)
    metadata = to_metadata(
        config, pretrained.preprocessing, pretrained.class_names, pretrained.upright
    )
    said: set[str] = set()  # settings that files beside the weights tell the layout's programs
    beside: dict[str, dict[str, Any]] = {}
    if not is_file and to in ("timm", "hf"):
        form = hugging_face_form if to == "hf" else timm_form
        beside, said = form.files(pretrained)
    write_weights_file(path if is_file else path / f"model{ending}", tensors, metadata, beside)
    return warnings_for(pretrained, layout, said)


def to_layout(pretrained: Pretrained, layout: Layout) -> dict[str, np.ndarray]:
    """The tensors under the layout's names."""
    config = pretrained.model_config
    flat = flatten_dict(pretrained.params, sep="/")
    tensors: dict[str, np.ndarray] = {}
    if not config.is_vit:
        return resnet.to_tensors(pretrained.params, config, pretrained.num_classes)
    for entry in layout.table(config.num_layers):
        if entry.ours in flat:
            arrays = entry.transform.to_theirs(np.asarray(flat.pop(entry.ours)), config.num_heads)
            tensors |= dict(zip(entry.theirs, arrays, strict=True))
    if flat:
        raise UserError(f"the layout {layout.name} has no name for {next(iter(flat))}")
    return layout.finished(tensors)


def layout_for(config: ModelConfig, num_classes: int, to: str) -> Layout:
    """The layout of that name which expresses the model.

    Raises:
      UserError: there is none; the message names the first obstacle.
    """
    if to not in NAMES:
        raise UserError(f"layout {to!r} is not known: choose of {', '.join(NAMES)}")
    reasons = []
    for layout in LAYOUTS:
        if layout.name != to:
            continue
        reason = obstacle(config, num_classes, layout)
        if reason is None:
            return layout
        reasons.append(f"{layout.title} cannot, because {reason}")
    others = [name for name in NAMES if name != to and _fits(config, num_classes, name)]
    raise UserError(
        f"the layout {to} cannot express this model ({'; '.join(reasons)}): "
        f"choose {' or '.join(others)}"
    )


def _fits(config: ModelConfig, num_classes: int, name: str) -> bool:
    return any(
        layout.name == name and obstacle(config, num_classes, layout) is None for layout in LAYOUTS
    )


def obstacle(config: ModelConfig, num_classes: int, layout: Layout) -> str | None:
    """Why a layout cannot express a model, or None."""
    if layout is resnet.LAYOUT or not config.is_vit:
        if config.attention != "none":
            return "it has an attention block"
        fits = layout is resnet.LAYOUT and not config.is_vit
        return None if fits else f"it is a {'Vision Transformer' if config.is_vit else 'ResNet'}"
    if config.layer_scale and "layer_scale" not in layout.parts:
        return "it has LayerScale"
    if config.register_tokens and "registers" not in layout.parts:
        return "it has register tokens"
    if not config.qkv_bias and "no_qkv_bias" not in layout.parts:
        return "its q, k and v have no bias"
    if config.patch_norm and "patch_norm" not in layout.parts:
        return "its patches are normalised"
    pools = layout.pools if num_classes else layout.pools | {"cls"}
    if config.pool not in pools:
        return f"its head sees {POOLS[config.pool]}, not {' or '.join(POOLS[p] for p in pools)}"
    return layout.obstacle(config)


POOLS = {
    "cls": "the class token",
    "mean": "the mean of the patches",
    "both": "the class token and the mean of the patches",
}


def warnings_for(pretrained: Pretrained, layout: Layout, said: set[str]) -> list[str]:
    """What programs of the layout assume, unless told, that is not so for this model.

    Args:
      pretrained: that is written.
      layout: of the file.
      said: names of settings that they are told.
    """
    config, preprocessing = pretrained.model_config, pretrained.preprocessing
    habits = layout.habits._asdict()
    ours = {
        "norm_eps": config.norm_eps,
        "gelu": config.gelu,
        **{name: getattr(preprocessing.geometry, name, None) for name in OF_IMAGES},
        "mean": preprocessing.mean,
        "std": preprocessing.std,
    }
    names = {"norm_eps": "LayerNorm's eps", "gelu": "GELU"}
    return [
        f"programs that read {layout.title} assume {names.get(name, name)} {_shown(habits[name])} "
        f"unless told otherwise; this model has {_shown(value)}"
        for name, value in ours.items()
        if name not in said and habits[name] is not None and not _close(value, habits[name])
    ]


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, (str, tuple)):
        return a == b
    return abs(a - b) <= 1e-3 * abs(b)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return joined(value)
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value).strip('"')
