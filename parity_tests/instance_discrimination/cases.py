"""Batches of two views for the contrastive loss, also extreme ones, and the loss in PyTorch."""

import numpy as np
import torch

from torch_ref.instance_discrimination import contrastive as twin


def views(batch: int, width: int = 10, scale: float = 1.0, seed: int = 0) -> tuple:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(batch, width)) * scale
    b = a + 0.5 * scale * rng.normal(size=(batch, width))
    return a.astype(np.float32), b.astype(np.float32)


CASES = {
    "a batch": (views(32), np.arange(32), 1.0),
    "a low temperature": (views(32), np.arange(32), 0.01),
    "large features": (views(16, scale=1e4), np.arange(16), 1.0),
    "duplicates": (views(12), np.array([3, 1, 3, 2, 9, 9, 9, 0, 5, 6, 7, 8]), 0.5),
    "one image": (views(1), np.array([7]), 1.0),
    "two images": (views(2), np.array([7, 2]), 1.0),
    "identical views": ((views(8)[0], views(8)[0]), np.arange(8), 0.1),
}


def in_torch(name: str, dtype: torch.dtype) -> list[np.ndarray]:
    (a, b), index, temperature = CASES[name]
    a, b = (torch.tensor(each, dtype=dtype, requires_grad=True) for each in (a, b))
    loss = twin.contrastive_loss(a, b, torch.tensor(index), temperature)
    loss.mean().backward()
    return [each.detach().numpy() for each in (loss, a.grad, b.grad)]
