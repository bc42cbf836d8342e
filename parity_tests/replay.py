"""Dropout masks drawn by JAX, recorded and replayed in PyTorch."""

from collections.abc import Callable, Iterator

import jax
import torch
from flax import linen as nn
from flax.traverse_util import flatten_dict

from torch_ref.drop_path import DropPath

# The modules of an encoder layer that draw masks, in the order of their calls.
IN_A_LAYER = (
    ("attn", "attn_drop"), ("attn", "proj_drop"), ("drop_path1",), ("mlp_2",), ("mlp_4",),
    ("drop_path2",),
)  # fmt: skip


def make_mask_recorder(model: nn.Module) -> Callable[..., list[jax.Array]]:
    """Returns record(params, images, key), which gives the dropout masks of one training pass.

    The masks are bool, in the order of the calls; True marks a unit that is kept. Modules whose
    rate is 0 draw none. In a last layer that computes the class token alone they are of one token,
    and PyTorch, which computes all tokens, gives all of them that mask: only one is read.
    """

    @jax.jit
    def record(params, images, key):
        _, sown = model.apply(
            {"params": params}, images, False, rngs={"dropout": key}, mutable=["dropout"]
        )
        paths = [("embedding_drop",)] + [
            ("transformer_encoder", f"layers_{number}", *path)
            for number in range(model.num_layers)
            for path in IN_A_LAYER
        ]
        found = flatten_dict(sown.get("dropout", {}))
        return [kept for path in paths for kept in found.get((*path, "kept"), ())]

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
    """Replaces each Dropout and DropPath whose rate is above 0 by ReplayedDropout, in place.

    Returns:
      The stream that all of them take their masks from.
    """
    masks = MaskStream()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            rate = {torch.nn.Dropout: "p", DropPath: "rate"}.get(type(child))
            if rate is not None and getattr(child, rate) > 0:
                setattr(parent, name, ReplayedDropout(masks, getattr(child, rate)))
    return masks
