"""The layouts of Hugging Face's transformers: ViT (also plain DeiT), and Dinov2.

The principal names are those on disk. transformers 5 has others in memory (`vit.layers.0.attention.
q_proj` for `vit.encoder.layer.0.attention.attention.query`), and backbone files have no prefix.

Sources: transformers 5.23, models/vit, models/dinov2 and models/dinov2_with_registers.
"""

import numpy as np

from jaxvit.config import IMAGENET_MEAN, IMAGENET_STD, ModelConfig
from jaxvit.interop.layout import (
    LAYER,
    MASK_TOKEN,
    POOLER,
    SWIGLU,
    TWO_TOKENS,
    Habits,
    Layout,
    conv,
    linear,
    norm,
    scale,
    spelling,
    three_linears,
    token,
)

# What both generations and both models call differently, in the order in which it is applied.
ATTENTION = (
    (r"\.attention\.([qkv])_proj\.", r".attention.attention.\1."),
    (r"\.attention\.q\.", ".attention.query."),
    (r"\.attention\.k\.", ".attention.key."),
    (r"\.attention\.v\.", ".attention.value."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
)
REFUSED = (
    (r".*distillation_token|(cls|distillation)_classifier\..*", TWO_TOKENS),
    (r".*\.mlp\.weights_(in|out)\..*", SWIGLU),
    (r"decoder\..*", "a masked autoencoder's decoder: load its encoder alone"),
)
WITH_REGISTERS = "dinov2_with_registers."


def _entries(prefix: str, norms: tuple[str, str], mlp: tuple[str, str], scales: bool) -> tuple:
    layer, inner = f"{prefix}.encoder.layer.{{i}}", f"{prefix}.encoder.layer.{{i}}.attention"
    entries = [
        *conv("patch_embedding/proj", f"{prefix}.embeddings.patch_embeddings.projection"),
        *token("cls_token", f"{prefix}.embeddings.cls_token"),
        *token("positional_embedding", f"{prefix}.embeddings.position_embeddings"),
        *norm(LAYER + "norm1", f"{layer}.{norms[0]}"),
        *three_linears(
            LAYER + "attn/qkv", *(f"{inner}.attention.{name}" for name in ("query", "key", "value"))
        ),
        *linear(LAYER + "attn/fc_out", f"{inner}.output.dense"),
        *norm(LAYER + "norm2", f"{layer}.{norms[1]}"),
        *linear(LAYER + "mlp_0", f"{layer}.{mlp[0]}"),
        *linear(LAYER + "mlp_3", f"{layer}.{mlp[1]}"),
        *norm("norm", f"{prefix}.layernorm"),
        *linear("head", "classifier"),
    ]
    if scales:
        entries += [
            *token("registers", f"{prefix}.embeddings.register_tokens"),
            *scale(LAYER + "ls1", f"{layer}.layer_scale1.lambda1"),
            *scale(LAYER + "ls2", f"{layer}.layer_scale2.lambda1"),
        ]
    return tuple(entries)


VIT = Layout(
    name="hf",
    title="Hugging Face ViT",
    entries=_entries(
        "vit",
        ("layernorm_before", "layernorm_after"),
        ("intermediate.dense", "output.dense"),
        scales=False,
    ),
    signature="vit.embeddings.patch_embeddings.projection.weight",
    spelled=spelling(
        (r"^deit\.", "vit."),
        (r"^(embeddings|encoder|layers|layernorm|pooler)\.", r"vit.\1."),
        (r"^vit\.layers\.", "vit.encoder.layer."),
        *ATTENTION,
        (r"\.mlp\.fc1\.", ".intermediate.dense."),
        (r"\.mlp\.fc2\.", ".output.dense."),
    ),
    habits=Habits(1e-12, "erf", (0.5,) * 3, (0.5,) * 3, "squash", 1.0, "bilinear"),
    positions=lambda registers: "bicubic",
    dropped=((r"vit\.pooler\..*", POOLER), (r"vit\.embeddings\.mask_token", MASK_TOKEN)),
    refused=REFUSED,
    parts=frozenset({"no_qkv_bias"}),
)


def with_registers_prefix(tensors: dict) -> dict:
    """Dinov2WithRegisters has a prefix of its own, and always a mask_token."""
    if "dinov2.embeddings.register_tokens" not in tensors:
        return tensors
    mask_token = np.zeros_like(tensors["dinov2.embeddings.cls_token"][0])
    tensors = {**tensors, "dinov2.embeddings.mask_token": mask_token}
    return {
        WITH_REGISTERS + name.removeprefix("dinov2.") if name.startswith("dinov2.") else name: value
        for name, value in tensors.items()
    }


def obstacle(config: ModelConfig) -> str | None:
    """What Dinov2Config has no field for."""
    if not config.layer_scale:
        return "it has no LayerScale"
    if config.mlp_ratio != int(config.mlp_ratio):
        return f"its MLP ratio {config.mlp_ratio:g} is no integer"
    return None


DINOV2 = Layout(
    name="hf",
    title="Hugging Face Dinov2",
    entries=_entries("dinov2", ("norm1", "norm2"), ("mlp.fc1", "mlp.fc2"), scales=True),
    signature="dinov2.encoder.layer.0.layer_scale1.lambda1",
    spelled=spelling(
        (r"^dinov2_with_registers\.", "dinov2."),
        (r"^(embeddings|encoder|layers|layernorm|pooler)\.", r"dinov2.\1."),
        (r"^dinov2\.layers\.", "dinov2.encoder.layer."),
        *ATTENTION,
    ),
    habits=Habits(1e-6, "erf", IMAGENET_MEAN, IMAGENET_STD, "short_side", 224 / 256, "bicubic"),
    positions=lambda registers: "bicubic_antialias" if registers else "bicubic",
    dropped=((r"dinov2\.embeddings\.mask_token", MASK_TOKEN),),
    refused=REFUSED,
    parts=frozenset({"no_qkv_bias", "layer_scale", "registers"}),
    pools=frozenset({"both"}),
    obstacle=obstacle,
    finished=with_registers_prefix,
)
