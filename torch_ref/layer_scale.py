"""LayerScale: a learned factor for each channel of a residual branch."""

import torch
from torch import Tensor, nn


class LayerScale(nn.Module):
    """y = gamma x, over the last axis; (..., dim) becomes the same shape.

    Args:
        dim: channels.
        initial: of every gamma.

    Source: Touvron et al. 2021, arXiv:2103.17239.
    """

    def __init__(self, dim: int, initial: float):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), float(initial)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma
