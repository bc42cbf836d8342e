"""Dropout masks drawn by JAX, recorded and replayed in PyTorch."""

from collections.abc import Callable, Iterator

import jax
import torch
from flax import linen as nn


def make_mask_recorder(model: nn.Module) -> Callable[..., list[jax.Array]]:
    """(params, images, key) -> the masks of one training pass, in the order of the calls.

    A mask is what dropout makes of ones: 0, or 1 / (1 - rate).
    """

    def record(params, images, key):
        masks = []

        def spy(next_call, args, kwargs, context):
            if not isinstance(context.module, nn.Dropout):
                return next_call(*args, **kwargs)
            x, *rest = args
            mask = next_call(jax.numpy.ones_like(x), *rest, **kwargs)
            masks.append(mask)
            return x * mask

        with nn.intercept_methods(spy):
            model.apply({"params": params}, images, deterministic=False, rngs={"dropout": key})
        return masks

    return jax.jit(record)


class ReplayedDropout(torch.nn.Module):
    """Drops what the next mask of a stream drops, which all layers of a model share.

    What is kept is scaled by 1 / (1 - rate) in the type of x: the float32 scale of a recorded mask
    would put float32's rounding into a model that is the truth in float64.
    """

    def __init__(self, masks: "MaskStream", rate: float):
        super().__init__()
        self.masks = masks
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        return x * (self.masks.take() > 0).to(x.dtype) / (1 - self.rate)


class MaskStream:
    """The masks of one pass; `load` them before it."""

    def __init__(self):
        self._left: Iterator[jax.Array] = iter(())

    def load(self, masks: list[jax.Array]) -> None:
        self._left = iter(jax.device_get(masks))

    def take(self) -> torch.Tensor:
        return torch.tensor(next(self._left))


def replace_dropout(model: torch.nn.Module) -> MaskStream:
    """Puts ReplayedDropout in the place of every Dropout, in place."""
    masks = MaskStream()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, torch.nn.Dropout):
                setattr(parent, name, ReplayedDropout(masks, child.p))
    return masks
