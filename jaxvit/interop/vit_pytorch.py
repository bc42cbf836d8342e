"""The layout of lucidrains's vit-pytorch: patches between two norms, q, k and v without a bias.

Source: vit-pytorch 1.26, vit_pytorch/vit.py; older files have tokens and positions with three axes.
"""

import math

import numpy as np

from jaxvit.config import IMAGENET_MEAN, IMAGENET_STD, ModelConfig
from jaxvit.interop.layout import (
    LAYER,
    SAME,
    TRANSPOSED,
    Entry,
    Habits,
    Layout,
    Transform,
    linear,
    norm,
    spelling,
)


def _to_patches(weight: np.ndarray) -> np.ndarray:
    """(D, p p C) to (p, p, C, D); C is 3, or 1 where the number of values is a square."""
    values = weight.shape[1]
    channels = 1 if math.isqrt(values) ** 2 == values else 3
    side = math.isqrt(values // channels)
    if channels * side * side != values:
        return weight.T[None, None]  # of no square patch: refused by its shape
    return weight.T.reshape(side, side, channels, -1)


PATCHES = Transform(
    lambda arrays: _to_patches(arrays[0]),
    lambda ours, heads: [ours.reshape(-1, ours.shape[-1]).T],
)
# (n, D) to (1, n, D).
TOKENS = Transform(
    lambda arrays: arrays[0].reshape(1, -1, arrays[0].shape[-1]), lambda ours, heads: [ours[0]]
)


def _obstacle(config: ModelConfig) -> str | None:
    if not config.patch_norm:
        return "its patches are not normalised"
    return "its q, k and v have a bias" if config.qkv_bias else None


ATTENTION, MLP = "transformer.layers.{i}.0", "transformer.layers.{i}.1.net"
LAYOUT = Layout(
    name="vit_pytorch",
    title="vit-pytorch",
    entries=(
        *norm("patch_embedding/norm_patch", "to_patch_embedding.1"),
        Entry("patch_embedding/proj/kernel", ("to_patch_embedding.2.weight",), PATCHES, axes=2),
        Entry("patch_embedding/proj/bias", ("to_patch_embedding.2.bias",), SAME),
        *norm("patch_embedding/norm", "to_patch_embedding.3"),
        Entry("cls_token", ("cls_token",), TOKENS),
        Entry("positional_embedding", ("pos_embedding",), TOKENS),
        *norm(LAYER + "norm1", f"{ATTENTION}.norm"),
        Entry(LAYER + "attn/qkv/kernel", (f"{ATTENTION}.to_qkv.weight",), TRANSPOSED),
        *linear(LAYER + "attn/fc_out", f"{ATTENTION}.to_out.0"),
        *norm(LAYER + "norm2", f"{MLP}.0"),
        *linear(LAYER + "mlp_0", f"{MLP}.1"),
        *linear(LAYER + "mlp_3", f"{MLP}.4"),
        *norm("norm", "transformer.norm"),
        *linear("head", "mlp_head"),
    ),
    signature="to_patch_embedding.2.weight",
    spelled=spelling(),
    habits=Habits(1e-5, "erf", IMAGENET_MEAN, IMAGENET_STD, "squash", 1.0, "bilinear"),
    positions=lambda registers: "bicubic_antialias",
    parts=frozenset({"no_qkv_bias", "patch_norm"}),
    obstacle=_obstacle,
)
