"""From a file's tensors to our parameters: each is loaded, dropped with a reason, or refused."""

import re
from typing import NamedTuple

import numpy as np

from jaxvit.errors import UserError
from jaxvit.interop import (
    google,
    hugging_face,
    lab,
    lukemelas,
    resnet,
    timm,
    torchvision,
    vit_pytorch,
)
from jaxvit.interop.layout import PRE_LOGITS, Entry, Layout, Tensors
from jaxvit.interop.model_shape import Shape, measure_shape, our_shapes
from jaxvit.interop.report import Row
from jaxvit.interop.tensors import check_numbers, check_refused, take

# In this order, because an unprefixed Dinov2 also has the names by which ViT is recognised.
LAYOUTS = (
    timm.LAYOUT, hugging_face.DINOV2, hugging_face.VIT, google.LAYOUT, lukemelas.LAYOUT,
    torchvision.LAYOUT, vit_pytorch.LAYOUT, resnet.LAYOUT, lab.LAYOUT,
)  # fmt: skip
NAMES = tuple(dict.fromkeys(layout.name for layout in LAYOUTS))

Flat = dict[str, np.ndarray]  # our parameters by our names


class Reading(NamedTuple):
    """A file, understood.

    Attributes:
      layout: recognised.
      flat: float32 arrays by our names.
      shape: of the model.
      rows: what became of each tensor.
      heads: number of attention heads, where the shapes tell it.
      pre_logits: whether a layer before the head was dropped, without which the head is useless.
    """

    layout: Layout
    flat: Flat
    shape: Shape
    rows: list[Row]
    heads: int | None
    pre_logits: bool


def recognise(tensors: Tensors, source: str, wanted: str | None = None) -> Layout:
    """The layout whose names these are.

    Args:
      tensors: arrays by their names in the file.
      source: of them, for messages.
      wanted: the name of the only layout to consider.

    Raises:
      UserError: they are of none, or not of the wanted one, or wanted is no layout.
    """
    if wanted is not None and wanted not in NAMES:
        raise UserError(f"layout {wanted!r} is not known: choose of {', '.join(NAMES)}")
    if not tensors:
        raise UserError(f"{source} holds no tensor: is the download complete?")
    for layout in LAYOUTS:
        if layout.signature in layout.spelled(tensors) and wanted in (None, layout.name):
            return layout
    if wanted is not None:
        other = recognise(tensors, source).name
        raise UserError(f"{source} is of the layout {other}, not {wanted}: leave the layout out")
    some = ", ".join(sorted(tensors)[:3])
    raise UserError(
        f"{source} has names of no Vision Transformer or ResNet that is known here ({some}, ...):"
        f" known are {', '.join(NAMES)}"
    )


def read_layout(tensors: Tensors, layout: Layout, source: str) -> Reading:
    """Our parameters from the tensors of a file of a layout.

    Raises:
      UserError: a tensor is not known, missing, of a wrong shape, not finite or no float; or one
        belongs to a model that cannot be built here. The message names it.
    """
    named = layout.spelled(tensors)
    check_refused(named, layout, source)
    shape = measure_shape(named, layout, source)
    heads = layout.heads(named)
    flat: Flat = {}
    rows: dict[str, Row] = {}
    for entry in layout.table(shape.num_layers):
        if not _has(shape, entry):
            continue
        parts = [take(named, name, entry, source) for name in entry.theirs]
        wanted = _expected(entry, shape, heads or 1)
        for name, part, dims in zip(entry.theirs, parts, wanted, strict=True):
            check_numbers(part, source)
            if part.array.shape != dims and not _same_token(entry, part.array, dims):
                raise UserError(
                    f"{part.original} of {source} has the shape {part.array.shape}, but the other "
                    f"tensors ask for {dims}: is the file of another model, or damaged?"
                )
            rows[name] = Row(part.original, part.array.shape, "loaded", entry.ours)
        array = np.asarray(entry.transform.to_ours([part.array for part in parts]))
        if entry.ours == "positional_embedding" and array.shape[1] == shape.grid**2:
            array = np.concatenate([np.zeros_like(array[:, :1]), array], axis=1)
            fate = "loaded, with zeros for the class token, for which the file has no position"
            rows[entry.theirs[0]] = rows[entry.theirs[0]]._replace(fate=fate)
        flat[entry.ours] = np.ascontiguousarray(array, np.float32)
    pre_logits = False
    for name, tensor in named.items():
        if name in rows:
            continue
        reason = layout.reason_to(layout.dropped, name)
        if reason is None:
            raise UserError(
                f"{tensor.original} of {source}, of shape {tensor.array.shape}, is no tensor that "
                f"the layout {layout.name} has: is it of another model?"
            )
        pre_logits |= reason == PRE_LOGITS
        rows[name] = Row(tensor.original, tensor.array.shape, f"dropped: {reason}")
    return Reading(layout, flat, shape, list(rows.values()), heads, pre_logits)


def _has(shape: Shape, entry: Entry) -> bool:
    """Whether the model has the part to which an entry belongs."""
    return {
        "core": True, "head": shape.num_classes > 0, "layer_scale": shape.layer_scale,
        "registers": shape.registers > 0, "qkv_bias": shape.qkv_bias,
        "patch_norm": shape.patch_norm,
    }[entry.part]  # fmt: skip


def _expected(entry: Entry, shape: Shape, heads: int) -> list[tuple[int, ...]]:
    """The shapes of an entry's tensors in the file."""
    ours = our_shapes(shape)[re.sub(r"layers_\d+", "layers_{i}", entry.ours)]
    empty = np.broadcast_to(np.float32(0), ours)
    return [array.shape for array in entry.transform.to_theirs(empty, heads)]


def _same_token(entry: Entry, array: np.ndarray, dims: tuple[int, ...]) -> bool:
    """(D,) and (1, D) for (1, 1, D), and positions without one for the class token."""
    if entry.ours not in ("cls_token", "registers", "positional_embedding") or array.ndim > 3:
        return False
    found = (1,) * (3 - array.ndim) + array.shape
    dims = (1,) * (3 - len(dims)) + dims
    if entry.ours == "positional_embedding" and found[1] == dims[1] - 1:
        found = (found[0], dims[1], found[2])
    return found == dims
