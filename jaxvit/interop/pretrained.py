"""A model with its weights and all that belongs to them, and the two ways to adapt it."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxvit.config import ModelConfig, check
from jaxvit.data.preprocessing import Preprocessing
from jaxvit.interop.positions import resize_positions
from jaxvit.interop.report import Report, Row
from jaxvit.models.transformer import VisionTransformer, make_model


class Pretrained(NamedTuple):
    """A model with weights, and all that belongs to them.

    Attributes:
      model: called as model.apply({"params": params}, images, deterministic=True) on normalised
        (B, H, W, C) images; gives logits, or features where num_classes is 0.
      params: nested dict of float32 NumPy arrays.
      model_config: of the model, without dropout.
      num_classes: of the head; 0 without one.
      preprocessing: between an image file and the model's input.
      class_names: in the order of the logits, or None where nobody says them.
      layout: "timm", "hf", "google", "lukemelas", "torchvision", "lab", or "run" for a run of ours.
      report: what became of each tensor, and where the settings come from.
      upright: whether photos are rotated by their EXIF orientation before they are used.
    """

    model: VisionTransformer
    params: Any
    model_config: ModelConfig
    num_classes: int
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    layout: str
    report: Report
    upright: bool = True

    def __repr__(self) -> str:
        number = sum(leaf.size for leaf in jax.tree.leaves(self.params))
        return (
            f"Pretrained({self.layout}: {number:,} parameters, {self.num_classes} classes, "
            f"{self.model_config.img_size} pixels)"
        )


def without_dropout(config: ModelConfig) -> ModelConfig:
    """The same function in float32, with every rate at 0 and without recomputation."""
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
    """
    old, params = pretrained.num_classes, dict(pretrained.params)
    if num_classes == old:
        return pretrained
    params.pop("head", None)
    config, rows = pretrained.model_config, list(pretrained.report.rows)
    asked = f"{num_classes} classes are" if num_classes else "features are"
    rows = [
        row._replace(fate=f"dropped: {why or asked + ' asked for'}", ours=None)
        if row.ours and row.ours.startswith("head/")
        else row
        for row in rows
    ]
    if num_classes:
        features = config.embed_dim * (2 if config.pool == "both" else 1)
        kernel = np.zeros((features, num_classes), np.float32)
        params["head"] = {"kernel": kernel, "bias": np.zeros(num_classes, np.float32)}
        rows += [
            Row("head/kernel", kernel.shape, "new: zeros", "head/kernel"),
            Row("head/bias", (num_classes,), "new: zeros", "head/bias"),
        ]
    return pretrained._replace(
        model=make_model(config, num_classes),
        params=params,
        num_classes=num_classes,
        class_names=None,
        report=pretrained.report._replace(rows=tuple(rows)),
    )


def with_img_size(pretrained: Pretrained, img_size: int, method: str) -> Pretrained:
    """With positions for another image size; see jaxvit.interop.positions.

    Raises:
      UserError: the size is no multiple of the patch.
    """
    old = pretrained.model_config
    if img_size == old.img_size:
        return pretrained
    config = replace(old, img_size=img_size)
    check(config, "model.")
    grids = [size // old.patch_size for size in (old.img_size, img_size)]
    positions = resize_positions(pretrained.params["positional_embedding"], grids[1], method)
    fate = f", resized from {grids[0]} x {grids[0]} to {grids[1]} x {grids[1]} by {method}"
    rows = tuple(
        row._replace(fate=row.fate + fate) if row.ours == "positional_embedding" else row
        for row in pretrained.report.rows
    )
    geometry = pretrained.preprocessing.geometry._replace(size=img_size)
    return pretrained._replace(
        model=make_model(config, pretrained.num_classes),
        params={**pretrained.params, "positional_embedding": positions},
        model_config=config,
        preprocessing=pretrained.preprocessing._replace(geometry=geometry),
        report=pretrained.report._replace(rows=rows),
    )
