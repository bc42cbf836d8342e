"""A model with its weights and all that belongs to them, and the two ways to adapt it."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from flax import linen as nn

from jaxvit.config import ModelConfig, check, map_channels
from jaxvit.data.preprocessing import Preprocessing
from jaxvit.errors import UserError
from jaxvit.interop.positions import resize_positions
from jaxvit.interop.report import Report, Row
from jaxvit.models.configured import make_model
from jaxvit.models.variables import count_params, joined, split


class Pretrained(NamedTuple):
    """A model with weights, and all that belongs to them.

    Attributes:
      model: called as model.apply(variables_of(params), images, deterministic=True), with
        jaxvit.models.variables, on normalised (B, H, W, C) images; gives logits, or features where
        num_classes is 0.
      params: its weights, a nested dict of float32 NumPy arrays: the parameters, with batch
        statistics where the model has any.
      model_config: of the model, without dropout.
      num_classes: of the head; 0 without one.
      preprocessing: between an image file and the model's input.
      class_names: in the order of the logits, or None where nobody says them.
      layout: one of jaxvit.interop.reading.NAMES, or "run" for a run of ours.
      report: what became of each tensor, and where the settings come from.
      upright: whether photos are rotated by their EXIF orientation before they are used.
    """

    model: nn.Module
    params: Any
    model_config: ModelConfig
    num_classes: int
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    layout: str
    report: Report
    upright: bool = True

    def __repr__(self) -> str:
        return (
            f"Pretrained({self.layout}: {count_params(self.params):,} parameters, "
            f"{self.num_classes} classes, {self.model_config.img_size} pixels)"
        )


def without_dropout(config: ModelConfig) -> ModelConfig:
    """The same function in float32, with every rate at 0 and without recomputation."""
    if not config.is_vit:
        return replace(config, dtype="float32")
    return replace(
        config,
        dropout=0.0,
        activation_dropout=None,
        attention_dropout=0.0,
        projection_dropout=0.0,
        embedding_dropout=0.0,
        drop_path=0.0,
        remat=False,
        dtype="float32",
    )


def with_head(pretrained: Pretrained, num_classes: int, why: str | None = None) -> Pretrained:
    """With a head of zeros for num_classes, or without one for 0; the same head is kept.

    Args:
      pretrained: any.
      num_classes: at least 0.
      why: the reason to drop the head, for the report.

    Raises:
      UserError: the model has an attention block.
    """
    old = pretrained.num_classes
    if num_classes == old:
        return pretrained
    if pretrained.model_config.attention != "none":
        raise UserError(
            "a model with an attention block has no head that could be replaced: give the weights "
            "of a ResNet or a Vision Transformer"
        )
    (params, extra), name = split(pretrained.params), head_name(pretrained.model_config)
    params = {part: each for part, each in params.items() if part != name}
    config, rows = pretrained.model_config, list(pretrained.report.rows)
    asked = f"{num_classes} classes are" if num_classes else "features are"
    rows = [
        row._replace(fate=f"dropped: {why or asked + ' asked for'}", ours=None)
        if row.ours and row.ours.removeprefix("params/").startswith(f"{name}/")
        else row
        for row in rows
    ]
    if num_classes:
        kernel = np.zeros((features_of(config), num_classes), np.float32)
        params[name] = {"kernel": kernel, "bias": np.zeros(num_classes, np.float32)}
        rows += [
            Row(f"{name}/kernel", kernel.shape, "new: zeros", f"{name}/kernel"),
            Row(f"{name}/bias", (num_classes,), "new: zeros", f"{name}/bias"),
        ]
    return pretrained._replace(
        model=make_model(config, num_classes),
        params=joined(params, extra),
        num_classes=num_classes,
        class_names=None,
        report=pretrained.report._replace(rows=tuple(rows)),
    )


def head_name(config: ModelConfig) -> str:
    """Of the part of the parameters that is the head."""
    return "head" if config.is_vit else "fc"


def features_of(config: ModelConfig) -> int:
    """The width of what the head sees."""
    if not config.is_vit:
        return map_channels(config.width)
    return config.embed_dim * (2 if config.pool == "both" else 1)


def with_img_size(pretrained: Pretrained, img_size: int, method: str) -> Pretrained:
    """For another image size, with positions for it where the model has any.

    See jaxvit.interop.positions.

    Raises:
      UserError: the size is no multiple of the patch.
    """
    old = pretrained.model_config
    if img_size == old.img_size:
        return pretrained
    config = replace(old, img_size=img_size)
    check(config, "model.")
    geometry = pretrained.preprocessing.geometry._replace(size=img_size)
    resized = pretrained._replace(
        model=make_model(config, pretrained.num_classes),
        model_config=config,
        preprocessing=pretrained.preprocessing._replace(geometry=geometry),
    )
    if not config.is_vit:
        return resized
    grids = [size // old.patch_size for size in (old.img_size, img_size)]
    positions = resize_positions(pretrained.params["positional_embedding"], grids[1], method)
    fate = f", resized from {grids[0]} x {grids[0]} to {grids[1]} x {grids[1]} by {method}"
    rows = tuple(
        row._replace(fate=row.fate + fate) if row.ours == "positional_embedding" else row
        for row in pretrained.report.rows
    )
    return resized._replace(
        params={**pretrained.params, "positional_embedding": positions},
        report=pretrained.report._replace(rows=rows),
    )
