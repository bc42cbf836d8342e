"""Parts of a model's parameters: rates by layer, and what is frozen.

All functions read the tree's names, which are those of jaxvit.models.transformer or .resnet, whose
layers are its four stages; values are not looked at, so shapes (jax.eval_shape) serve as well.
"""

import re
from typing import Any

import jax
import optax

from jaxvit.config import frozen_layers

EMBEDDINGS = ("patch_embedding", "cls_token", "positional_embedding", "registers")
BELOW_LAYERS = (*EMBEDDINGS, "conv1", "bn1")
HEADS = ("head", "fc", "block")  # block: of attention, behind the part "backbone"
Path = tuple[str, ...]  # keys of nested dicts, from the root to a leaf


def layer_groups(params: Any) -> Any:
    """The group of each parameter, as a tree of integers.

    0 for the embeddings or the stem, i + 1 for layer i of L, and L + 1 for the last norm and the
    head.

    Args:
      params: of a VisionTransformer or a ResNet, or the part of them that is trained, in which the
        last layer or none is left.

    Raises:
      ValueError: a parameter that neither has.
    """
    layers = _num_layers(params)

    def group(path, _) -> int:
        names = _names(path)
        if names[0] in BELOW_LAYERS:
            return 0
        if _layer(names) >= 0:
            return _layer(names) + 1
        if names[0] in ("norm", *HEADS):
            return layers + 1
        raise ValueError(f"{'/'.join(names)} is no parameter of a Vision Transformer or ResNet")

    return jax.tree.map_with_path(group, params)


def rate_factors(params: Any, layer_decay: float, head_lr: float = 1.0) -> Any:
    """The rate of each parameter over the schedule's, as a tree of numbers.

    d^(L + 1 - group), with layer_groups' groups; times head_lr for the head.

    Args:
      params: see layer_groups.
      layer_decay: d in (0, 1].
      head_lr: above 0.

    Source: Clark et al. 2020, arXiv:2003.10555; Bao et al. 2021, arXiv:2106.08254, for images.

    Example:
      >>> rate_factors({"cls_token": 0, "transformer_encoder": {"layers_0": 0}, "head": 0}, 0.5, 10)
      {'cls_token': 0.25, 'head': 10.0, 'transformer_encoder': {'layers_0': 0.5}}
    """
    top = _num_layers(params) + 1

    def factor(path, group: int) -> float:
        own = head_lr if _names(path)[0] in HEADS else 1.0
        return own * layer_decay ** (top - group)

    return jax.tree.map_with_path(factor, layer_groups(params))


def scale_by_group(layer_decay: float, head_lr: float) -> optax.GradientTransformation:
    """Multiplies each update by its parameter's rate_factors.

    After AdamW's weight decay, so that the decay is multiplied too, as with PyTorch's param groups.
    """

    def update(updates, state, params=None):
        factors = rate_factors(updates, layer_decay, head_lr)
        return jax.tree.map(lambda u, factor: factor * u, updates, factors), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def trained_paths(params: Any, freeze: str) -> frozenset[Path] | None:
    """The leaves of params that are trained, for Phase.trains; None where all are.

    Args:
      params: of a VisionTransformer or a ResNet.
      freeze: "none"; "backbone", all but the head; or "N layers", the embeddings or the stem and
        the first N layers.

    Raises:
      ValueError: nothing would be left to train.
    """
    if freeze == "none":
        return None
    layers = frozen_layers(freeze)

    def trains(path: Path) -> bool:
        if layers is None:
            return path[0] in HEADS
        return path[0] not in BELOW_LAYERS and not 0 <= _layer(path) < layers

    paths = [tuple(entry.key for entry in path) for path, _ in jax.tree.leaves_with_path(params)]
    kept = frozenset(path for path in paths if trains(path))
    if not kept:
        raise ValueError(f"with {freeze!r} frozen no parameter is left to train")
    return kept


def _names(path) -> Path:
    """Without "backbone", whose parts have the names that they have alone."""
    names = tuple(entry.key for entry in path)
    return names[1:] if names[0] == "backbone" else names


def _paths(params: Any) -> list[Path]:
    return [_names(path) for path, _ in jax.tree.leaves_with_path(params)]


def _num_layers(params: Any) -> int:
    return 1 + max(map(_layer, _paths(params)), default=-1)


def _layer(path: Path) -> int:
    """The number of the layer that a parameter belongs to, or -1."""
    if path[0] == "transformer_encoder":
        return int(path[1].removeprefix("layers_"))
    stage = re.fullmatch(r"layer([0-9]+)_[0-9]+", path[0])
    return int(stage[1]) - 1 if stage else -1
