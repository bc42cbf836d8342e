"""The layout of lukemelas/PyTorch-Pretrained-ViT (pytorch-pretrained-vit on the package index).

Source: pytorch-pretrained-vit 0.0.7, model.py and transformer.py.
"""

from jaxvit.interop.layout import (
    LAYER,
    PRE_LOGITS,
    Habits,
    Layout,
    conv,
    linear,
    norm,
    spelling,
    three_linears,
    token,
)

BLOCK = "transformer.blocks.{i}"
LAYOUT = Layout(
    name="lukemelas",
    title="lukemelas's pytorch-pretrained-vit",
    entries=(
        *conv("patch_embedding/proj", "patch_embedding"),
        *token("cls_token", "class_token"),
        *token("positional_embedding", "positional_embedding.pos_embedding"),
        *norm(LAYER + "norm1", f"{BLOCK}.norm1"),
        *three_linears(LAYER + "attn/qkv", *(f"{BLOCK}.attn.proj_{name}" for name in "qkv")),
        *linear(LAYER + "attn/fc_out", f"{BLOCK}.proj"),
        *norm(LAYER + "norm2", f"{BLOCK}.norm2"),
        *linear(LAYER + "mlp_0", f"{BLOCK}.pwff.fc1"),
        *linear(LAYER + "mlp_3", f"{BLOCK}.pwff.fc2"),
        *norm("norm", "norm"),
        *linear("head", "fc"),
    ),
    signature="patch_embedding.weight",
    spelled=spelling(),
    habits=Habits(1e-6, "erf", (0.5,) * 3, (0.5,) * 3, "squash", 1.0, "bilinear"),
    positions=lambda registers: "zoom",
    dropped=((r"pre_logits\..*", PRE_LOGITS),),
)
