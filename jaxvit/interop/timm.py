"""timm's layout, which is also DeiT's and, with LayerScale and registers, DINOv2's.

Sources: timm 1.0, timm/models/vision_transformer.py; Oquab et al. 2023, arXiv:2304.07193.
"""

import numpy as np

from jaxvit.interop.layout import (
    ATTENTION_POOL,
    LAYER,
    MASK_TOKEN,
    OTHER_POOL,
    PRE_LOGITS,
    QK_NORM,
    RELATIVE,
    SWIGLU,
    TWO_TOKENS,
    Habits,
    Layout,
    conv,
    linear,
    norm,
    scale,
    spelling,
    token,
)

POSITIONS, TOKEN_NAME, REGISTERS = "pos_embed", "cls_token", "register_tokens"


def finished(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Registers in a form that timm reads.

    Positions without a value for the class token are written as timm's `_reg` models have them:
    `reg_token`, and (1, N, D) positions. Others are written as in the official files, which timm
    recognises by their mask_token: it adds the first position to the class token.
    """
    if REGISTERS not in tensors:
        return tensors
    tensors = dict(tensors)
    slot = tensors[POSITIONS][:, :1]
    if not slot.view(np.uint32).any():  # every bit is 0
        tensors["reg_token"] = tensors.pop(REGISTERS)
        tensors[POSITIONS] = tensors[POSITIONS][:, 1:]
    else:
        tensors["mask_token"] = np.zeros_like(tensors[TOKEN_NAME][0])
    return tensors


LAYOUT = Layout(
    name="timm",
    title="timm, DeiT, DINOv2",
    entries=(
        *conv("patch_embedding/proj", "patch_embed.proj"),
        *token("cls_token", TOKEN_NAME),
        *token("positional_embedding", POSITIONS),
        *token("registers", REGISTERS),
        *norm(LAYER + "norm1", "blocks.{i}.norm1"),
        *linear(LAYER + "attn/qkv", "blocks.{i}.attn.qkv"),
        *linear(LAYER + "attn/fc_out", "blocks.{i}.attn.proj"),
        *scale(LAYER + "ls1", "blocks.{i}.ls1.gamma"),
        *norm(LAYER + "norm2", "blocks.{i}.norm2"),
        *linear(LAYER + "mlp_0", "blocks.{i}.mlp.fc1"),
        *linear(LAYER + "mlp_3", "blocks.{i}.mlp.fc2"),
        *scale(LAYER + "ls2", "blocks.{i}.ls2.gamma"),
        *norm("norm", "norm"),
        *linear("head", "head"),
    ),
    signature="patch_embed.proj.weight",
    spelled=spelling((r"^reg_token$", REGISTERS), (r"\.gamma_([12])$", r".ls\1.gamma")),
    habits=Habits(1e-6, "erf", (0.5,) * 3, (0.5,) * 3, "short_side", 0.9, "bicubic"),
    positions=lambda registers: "bicubic_antialias",
    dropped=((r"mask_token", MASK_TOKEN), (r"pre_logits\..*", PRE_LOGITS)),
    refused=(
        (r"dist_token|head_dist\..*", TWO_TOKENS),
        (r"fc_norm\..*", OTHER_POOL),
        (r"attn_pool\..*", ATTENTION_POOL),
        (r".*rel(ative)?_pos.*|rope\..*", RELATIVE),
        (r".*\.mlp\.(w12|w3|fc1_g|fc1_x|norm)\..*", SWIGLU),
        (r".*\.attn\.[qk]_norm\..*", QK_NORM),
        (r"norm_pre\..*", "a norm before the first layer, which this model does not have"),
    ),
    parts=frozenset({"no_qkv_bias", "layer_scale", "registers"}),
    pools=frozenset({"cls", "mean"}),
    finished=finished,
)
