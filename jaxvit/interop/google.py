"""Google's layout: the .npz files of vit_jax (AugReg, SAM) and of big_vision.

The principal names are vit_jax's. big_vision counts the modules of a layer by class
(`LayerNorm_1` for `LayerNorm_2`), may store all layers stacked in one `encoderblock`, and has
positions at the top level, mostly without one for the class token.

Sources: github.com/google-research/vision_transformer, github.com/google-research/big_vision.
"""

import re
from collections.abc import Mapping

import numpy as np

from jaxvit.interop.layout import (
    ATTENTION_POOL,
    LAYER,
    PRE_LOGITS,
    SAME,
    TOKEN,
    Entry,
    Habits,
    Layout,
    Named,
    Tensors,
    Transform,
)

PREFIXES = ("", "opt/target/", "params/", "params/img/")
BLOCK = "Transformer/encoderblock"
FIRST = f"{BLOCK}_{{i}}/"
QUERY = f"{BLOCK}_0/MultiHeadDotProductAttention_1/query/kernel"
# Names of big_vision within a layer, and those of vit_jax.
WITHIN = {
    "MultiHeadDotProductAttention_0/": "MultiHeadDotProductAttention_1/",
    "LayerNorm_1/": "LayerNorm_2/",
    "MlpBlock_0/": "MlpBlock_3/",
}


def spelled(tensors: Tensors) -> dict[str, Named]:
    """vit_jax's names, without prefix, and layers that were stacked taken apart."""
    prefix = next((p for p in PREFIXES if f"{p}embedding/kernel" in tensors), None)
    if prefix is None:
        return {name: Named(name, array) for name, array in tensors.items()}
    found: dict[str, Named] = {}
    for original, array in tensors.items():
        name = original
        # What lies outside the prefix (an optimiser's state) keeps its full name.
        if prefix and not original.startswith(prefix):
            found[f"outside/{name}"] = Named(original, array)
            continue
        name = original.removeprefix(prefix)
        if name == "pos_embedding":
            name = "Transformer/posembed_input/pos_embedding"
        if name.startswith(f"{BLOCK}/") and array.ndim > 0:
            for i, part in enumerate(array):
                one = _within_a_layer(name.replace(f"{BLOCK}/", f"{BLOCK}_{i}/"))
                found[one] = Named(f"{original}[{i}]", part)
            continue
        found[_within_a_layer(name)] = Named(original, array)
    return found


def _within_a_layer(name: str) -> str:
    match = re.fullmatch(rf"({BLOCK}_\d+/)(.*)", name)
    if not match:
        return name
    first, rest = match.groups()
    for theirs, ours in WITHIN.items():
        if rest.startswith(theirs):
            rest = ours + rest.removeprefix(theirs)
    return first + rest


def heads(tensors: Mapping[str, Named]) -> int | None:
    """h of a kernel (D, h, d)."""
    query = tensors.get(QUERY)
    return query.array.shape[1] if query is not None and query.array.ndim == 3 else None


def _split_heads(array: np.ndarray, number: int) -> np.ndarray:
    return array.reshape(*array.shape[:-1], number, -1)


# (D, h, d) of q, k and v to (D, 3 D), the columns ordered by q, k, v, then by head.
HEADED_KERNELS = Transform(
    lambda arrays: np.concatenate([a.reshape(len(a), -1) for a in arrays], axis=1),
    lambda ours, heads: [_split_heads(part, heads) for part in np.split(ours, 3, axis=1)],
)
HEADED_BIASES = Transform(
    lambda arrays: np.concatenate([a.reshape(-1) for a in arrays]),
    lambda ours, heads: [_split_heads(part, heads) for part in np.split(ours, 3)],
)
# (h, d, D) to (D, D).
HEADED_OUT = Transform(
    lambda arrays: arrays[0].reshape(-1, arrays[0].shape[-1]),
    lambda ours, heads: [ours.reshape(heads, -1, ours.shape[-1])],
)


def _same(ours: str, theirs: str, leaves: tuple[str, str]) -> list[Entry]:
    return [Entry(f"{ours}/{leaf}", (f"{theirs}/{leaf}",), SAME) for leaf in leaves]


DENSE, NORM = ("kernel", "bias"), ("scale", "bias")
_MHA = f"{FIRST}MultiHeadDotProductAttention_1"
_QKV = tuple(f"{_MHA}/{name}" for name in ("query", "key", "value"))

LAYOUT = Layout(
    name="google",
    title="Google .npz",
    entries=(
        *_same("patch_embedding/proj", "embedding", DENSE),
        Entry("cls_token", ("cls",), TOKEN),
        Entry("positional_embedding", ("Transformer/posembed_input/pos_embedding",), TOKEN),
        *_same(LAYER + "norm1", f"{FIRST}LayerNorm_0", NORM),
        Entry(LAYER + "attn/qkv/kernel", tuple(f"{n}/kernel" for n in _QKV), HEADED_KERNELS),
        Entry(LAYER + "attn/qkv/bias", tuple(f"{n}/bias" for n in _QKV), HEADED_BIASES),
        Entry(LAYER + "attn/fc_out/kernel", (f"{_MHA}/out/kernel",), HEADED_OUT),
        Entry(LAYER + "attn/fc_out/bias", (f"{_MHA}/out/bias",), SAME),
        *_same(LAYER + "norm2", f"{FIRST}LayerNorm_2", NORM),
        *_same(LAYER + "mlp_0", f"{FIRST}MlpBlock_3/Dense_0", DENSE),
        *_same(LAYER + "mlp_3", f"{FIRST}MlpBlock_3/Dense_1", DENSE),
        *_same("norm", "Transformer/encoder_norm", NORM),
        *_same("head", "head", DENSE),
    ),
    signature="embedding/kernel",
    spelled=spelled,
    habits=Habits(1e-6, "tanh", (0.5,) * 3, (0.5,) * 3, "squash", 1.0, "bilinear"),
    positions=lambda registers: "zoom",
    dropped=(
        (r"pre_logits/.*", PRE_LOGITS),
        (r"outside/.*", "not the model's: an optimiser's state, or another tower"),
    ),
    refused=(
        (r"MAPHead_0/.*", ATTENTION_POOL),
        (r"(conv_root|gn_root|block\d+)/.*", "a ResNet before the patches (hybrid model)"),
    ),
    heads=heads,
)
