"""torchvision's layout: torchvision.models.VisionTransformer.

Source: torchvision 0.29, models/vision_transformer.py; files before 0.13 call the MLP's layers
`mlp.linear_1` and `mlp.linear_2`.
"""

from jaxvit.config import IMAGENET_MEAN, IMAGENET_STD
from jaxvit.interop.layout import (
    LAYER,
    PRE_LOGITS,
    SAME,
    TRANSPOSED,
    Entry,
    Habits,
    Layout,
    conv,
    linear,
    norm,
    spelling,
    token,
)

BLOCK = "encoder.layers.encoder_layer_{i}"
LAYOUT = Layout(
    name="torchvision",
    title="torchvision",
    entries=(
        *conv("patch_embedding/proj", "conv_proj"),
        *token("cls_token", "class_token"),
        *token("positional_embedding", "encoder.pos_embedding"),
        *norm(LAYER + "norm1", f"{BLOCK}.ln_1"),
        Entry(LAYER + "attn/qkv/kernel", (f"{BLOCK}.self_attention.in_proj_weight",), TRANSPOSED),
        Entry(LAYER + "attn/qkv/bias", (f"{BLOCK}.self_attention.in_proj_bias",), SAME),
        *linear(LAYER + "attn/fc_out", f"{BLOCK}.self_attention.out_proj"),
        *norm(LAYER + "norm2", f"{BLOCK}.ln_2"),
        *linear(LAYER + "mlp_0", f"{BLOCK}.mlp.0"),
        *linear(LAYER + "mlp_3", f"{BLOCK}.mlp.3"),
        *norm("norm", "encoder.ln"),
        *linear("head", "heads.head"),
    ),
    signature="conv_proj.weight",
    spelled=spelling((r"\.mlp\.linear_1\.", ".mlp.0."), (r"\.mlp\.linear_2\.", ".mlp.3.")),
    habits=Habits(1e-6, "erf", IMAGENET_MEAN, IMAGENET_STD, "short_side", 224 / 256, "bilinear"),
    positions=lambda registers: "bicubic_aligned",
    dropped=((r"heads\.pre_logits\..*", PRE_LOGITS),),
    refused=((r"conv_proj\.\d.*", "a stem of several convolutions"),),
)
