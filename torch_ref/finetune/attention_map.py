"""Where the class token looks: attention weights of pytorch-pretrained-vit's model, as maps."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def attention_map(model: nn.Module, images: Tensor) -> Tensor:
    """(N, C, H, W) to (N, layers, n, n): the class token's weights of each patch, head mean.

    Args:
        model: pytorch-pretrained-vit's ViT, in evaluation mode.
        images: normalised, of the model's size.
    """
    scores = attention_scores(model, images).mean(dim=2)  # (N, layers, tokens, tokens)
    return as_grid(scores[:, :, 0, 1:])


@torch.no_grad()
def attention_rollout(model: nn.Module, images: Tensor) -> Tensor:
    """(N, C, H, W) to (N, n, n): attention through all layers, with the residual path.

    The rows of M_L ... M_1, with M = (A + I) / 2 and A the mean over heads.

    Source: Abnar and Zuidema 2020, arXiv:2005.00928.
    """
    scores = attention_scores(model, images).mean(dim=2)
    rolled = torch.eye(scores.shape[-1], dtype=scores.dtype).expand(len(images), -1, -1)
    for layer in scores.unbind(dim=1):
        rolled = (layer + torch.eye(layer.shape[-1], dtype=layer.dtype)) / 2 @ rolled
    return as_grid(rolled[:, 0, 1:])


def attention_scores(model: nn.Module, images: Tensor) -> Tensor:
    """(N, layers, heads, tokens, tokens), rows sum to 1: what each layer kept in its pass."""
    model(images)
    return torch.stack([block.attn.scores for block in model.transformer.blocks], dim=1)


def as_grid(patches: Tensor) -> Tensor:
    """(..., n * n) to (..., n, n)."""
    side = round(patches.shape[-1] ** 0.5)
    return patches.unflatten(-1, (side, side))
