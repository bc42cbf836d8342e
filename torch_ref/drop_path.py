"""Stochastic depth: whole residual branches are dropped for single examples."""

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """In training, zeroes the branch of an example with probability rate, and scales the others'.

    y_b = kept_b x_b / (1 - rate), with one draw for each example, of any shape (N, ...).

    Args:
        rate: in [0, 1).

    Source: Huang et al. 2016, arXiv:1603.09382.
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        kept = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) < 1 - self.rate
        return x * kept / (1 - self.rate)


def drop_path_rate(rate: float, number: int, layers: int) -> float:
    """The rate of layer `number`, from 0, of `layers`: rising linearly from 0 to `rate`."""
    return rate * number / max(1, layers - 1)
