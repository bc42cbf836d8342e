"""Which positions of pytorch-pretrained-vit's model are alike."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@torch.no_grad()
def position_similarity(model: nn.Module) -> Tensor:
    """(n, n, n, n): the cosine of each patch's position with each other's.

    Args:
        model: pytorch-pretrained-vit's ViT; the class token's position is left out.
    """
    patches = model.positional_embedding.pos_embedding[0, 1:]
    side = round(len(patches) ** 0.5)
    unit = F.normalize(patches, dim=-1)
    return (unit @ unit.T).reshape(side, side, side, side)
