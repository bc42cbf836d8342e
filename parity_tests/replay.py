"""Dropout masks drawn by JAX, recorded and replayed in PyTorch."""

from collections.abc import Callable, Iterator

import jax
import torch
from flax import linen as nn


def make_mask_recorder(model: nn.Module) -> Callable[..., list[jax.Array]]:
    """Returns record(params, images, key), which gives the dropout masks of one training pass.

    The masks are bool, in the order of the calls; True marks a unit that is kept.
    """

    @jax.jit
    def record(params, images, key):
        _, sown = model.apply(
            {"params": params}, images, False, rngs={"dropout": key}, mutable=["dropout"]
        )
        layers = sown.get("dropout", {}).get("transformer_encoder", {})
        return [
            kept
            for number in range(len(layers))
            for kept in layers[f"layers_{number}"]["mlp_dropout"]["kept"]
        ]

    return record


class ReplayedDropout(torch.nn.Module):
    """Dropout that takes its mask from a stream instead of drawing it.

    out = x mask / (1 - rate) in training mode, out = x otherwise. All dropout layers of a model
    share one stream, so that the order of their calls decides which mask each gets.
    """

    def __init__(self, masks: "MaskStream", rate: float):
        super().__init__()
        self.masks = masks
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        return x * self.masks.take().to(x.dtype) / (1 - self.rate)


class MaskStream:
    """The masks of one forward pass in the order of the calls; `load` them before each pass."""

    def __init__(self):
        self._left: Iterator[jax.Array] = iter(())

    def load(self, masks: list[jax.Array]) -> None:
        self._left = iter(jax.device_get(masks))

    def take(self) -> torch.Tensor:
        return torch.tensor(next(self._left))


def replace_dropout(model: torch.nn.Module) -> MaskStream:
    """Replaces every Dropout of the model by ReplayedDropout, in place; returns their stream."""
    masks = MaskStream()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, torch.nn.Dropout):
                setattr(parent, name, ReplayedDropout(masks, child.p))
    return masks
