"""What the shapes of weights tell of a model: everything but heads, eps, GELU and preprocessing."""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxvit.errors import UserError
from jaxvit.interop.layout import LAYER, Layout, Named
from jaxvit.interop.positions import grid_of
from jaxvit.interop.tensors import take


class Shape(NamedTuple):
    """What the shapes of weights tell of a model; see jaxvit.config.ModelConfig.

    Attributes:
      features: width of what the head sees; embed_dim, or twice as much for pool "both".
    """

    patch_size: int
    in_channels: int
    embed_dim: int
    num_layers: int
    hidden_dim: int
    grid: int
    registers: int
    layer_scale: bool
    qkv_bias: bool
    patch_norm: bool
    num_classes: int
    features: int

    @property
    def mlp_ratio(self) -> float:
        """The r for which the model computes int(embed_dim r) == hidden_dim."""
        ratio = self.hidden_dim / self.embed_dim
        while int(self.embed_dim * ratio) < self.hidden_dim:
            ratio = math.nextafter(ratio, math.inf)
        return ratio


MAX_LAYERS = 1000


def measure_shape(named: Mapping[str, Named], layout: Layout, source: str) -> Shape:
    """The sizes of the model, from a few tensors that tell them.

    Raises:
      UserError: one of these is missing or has no shape that makes sense.
    """
    by_ours = {entry.ours: entry for entry in layout.entries}

    def theirs(ours: str, axes: int) -> np.ndarray:
        entry = by_ours[ours].at(0)
        part = take(named, entry.theirs[0], entry, source)
        expected = axes if entry.axes is None else entry.axes
        if part.array.ndim != expected:
            raise UserError(
                f"{part.original} of {source} has the shape {part.array.shape}, but {expected} "
                "axes are expected: is the file damaged?"
            )
        return entry.transform.to_ours([part.array])

    kernel = theirs("patch_embedding/proj/kernel", 4)
    patch, width, channels, embed_dim = kernel.shape
    if patch != width:
        raise UserError(f"{source} has patches of {patch} x {width} pixels: only square ones work")
    present = {
        int(match.group(1))
        for name in named
        for entry in layout.entries
        if "{i}" in entry.ours
        for their in entry.theirs
        if (match := re.fullmatch(re.escape(their).replace(r"\{i\}", r"(\d+)"), name))
    }
    if max(present, default=0) >= MAX_LAYERS:
        raise UserError(
            f"{source} has tensors of layer {max(present)}: a model here has at most {MAX_LAYERS} "
            "layers, so it is damaged or of another kind"
        )
    positions = by_ours["positional_embedding"]
    part = take(named, positions.theirs[0], positions, source)
    tokens = part.array.shape[-2] if part.array.ndim in (2, 3) else 0
    grid = grid_of(tokens - 1) or grid_of(tokens)
    if grid is None or part.array.ndim == 3 and part.array.shape[0] != 1:
        raise UserError(
            f"{part.original} of {source} has the shape {part.array.shape}, which is not that of a "
            "square grid of patches with or without a class token: such a model cannot be built"
        )

    def has(part: str) -> bool:
        """Whether any tensor of an optional part is there."""
        return any(
            their in named
            for entry in layout.table(max(present, default=0) + 1)
            if entry.part == part
            for their in entry.theirs
        )

    registers = num_classes = 0
    if has("registers"):
        entry = by_ours["registers"]
        array = take(named, entry.theirs[0], entry, source).array
        registers = array.shape[-2] if array.ndim > 1 else 1
    features = embed_dim
    if has("head"):
        features, num_classes = theirs("head/kernel", 2).shape
    return Shape(
        patch_size=patch,
        in_channels=channels,
        embed_dim=embed_dim,
        num_layers=max(present, default=0) + 1,
        hidden_dim=theirs(LAYER + "mlp_0/kernel", 2).shape[-1],
        grid=grid,
        registers=registers,
        layer_scale=has("layer_scale"),
        qkv_bias=has("qkv_bias"),
        patch_norm=has("patch_norm"),
        num_classes=num_classes,
        features=features,
    )


def our_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """The shape of each of our parameters, by our name with {i} for the layer."""
    width, hidden = shape.embed_dim, shape.hidden_dim
    dense = {
        LAYER + "attn/qkv": (width, 3 * width),
        LAYER + "attn/fc_out": (width, width),
        LAYER + "mlp_0": (width, hidden),
        LAYER + "mlp_3": (hidden, width),
        "head": (shape.features, shape.num_classes),
        "patch_embedding/proj": (shape.patch_size, shape.patch_size, shape.in_channels, width),
    }
    found: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "positional_embedding": (1, 1 + shape.grid**2, width),
        "registers": (1, shape.registers, width),
        LAYER + "ls1/gamma": (width,),
        LAYER + "ls2/gamma": (width,),
    }
    for name, dims in dense.items():
        found |= {f"{name}/kernel": dims, f"{name}/bias": dims[-1:]}
    for name in (LAYER + "norm1", LAYER + "norm2", "norm"):
        found |= {f"{name}/scale": (width,), f"{name}/bias": (width,)}
    values = shape.in_channels * shape.patch_size**2
    for name, dim in {"norm_patch": values, "norm": width}.items():
        name = f"patch_embedding/{name}"
        found |= {f"{name}/scale": (dim,), f"{name}/bias": (dim,)}
    return found
