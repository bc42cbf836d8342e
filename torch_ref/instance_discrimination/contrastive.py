"""The two losses: each image is its own class, and two views of it belong together."""

import torch
import torch.nn.functional as F
from torch import Tensor


def instance_discrimination_loss(
    logits: Tensor, index: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """L_InsDis, averaged over the batch: cross-entropy over the N training images.

    Args:
        logits: (B, N), one for each training image.
        index: (B,), which of them it is.
        label_smoothing: eps in [0, 1).
    """
    return F.cross_entropy(logits, index, label_smoothing=label_smoothing)


def contrastive_loss(z_a: Tensor, z_b: Tensor, index: Tensor, temperature: float = 1.0) -> Tensor:
    """L_CN of each image, (B,): -s_ii + log(exp(s_ii) + sum over other images of exp(s_ij)).

    s_ij = a_i . b_j / temperature, with a and b of length 1. Images of the same index are the same
    image and no negatives of each other.

    Args:
        z_a, z_b: (B, D), features of views A and B.
        index: (B,), of each image in its data set.
        temperature: above 0; the formula has none.

    Source: Cao and Wu 2022, arXiv:2201.10728, eq. 4.
    """
    s = F.normalize(z_a, dim=1) @ F.normalize(z_b, dim=1).T / temperature
    itself = torch.eye(len(s), dtype=torch.bool)
    others = index[:, None] != index[None, :]
    s = s.masked_fill(~(itself | others), -torch.inf)
    return s.logsumexp(dim=1) - s.diagonal()
