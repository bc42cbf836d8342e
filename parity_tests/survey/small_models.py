"""Models of both frameworks with equal weights and statistics, and what is compared of them."""

import copy
import re
from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax.traverse_util import flatten_dict, unflatten_dict
from torch import nn

from jaxvit.models.attention_blocks import AttentionBlock as JaxBlock
from jaxvit.models.resnet_with_attention import ResNetWithAttention as JaxModel
from parity_tests.evidence import Row, distance
from torch_ref.survey.attention_blocks import AttentionBlock
from torch_ref.survey.resnet_with_attention import ResNetWithAttention

CLASSES = 7
PARTS = ("evaluation", "training", "gradient", "statistics")
Batch = tuple[np.ndarray, np.ndarray]  # images (B, H, W, C) and labels (B,)


@torch.no_grad()
def with_noise(model: nn.Module) -> nn.Module:
    """At 0 and 1, swapping two biases, norms or statistics would not be seen."""
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter += 0.2 * torch.randn_like(parameter)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean += 0.1 * torch.randn_like(module.running_mean)
            module.running_var *= 1 + 0.5 * torch.rand_like(module.running_var)
    return model


def block_twins(attention: str, **options) -> tuple[nn.Module, JaxBlock, dict]:
    """An attention block in both frameworks, and its variables."""
    torch.manual_seed(0)
    options = {
        "img_size": 6, "patch_size": 2, "in_channels": 10, "num_classes": CLASSES, "embed_dim": 12,
        "num_heads": 3, "dropout": 0.0,
    } | options  # fmt: skip
    model = with_noise(AttentionBlock(attention, **options))
    with torch.no_grad():  # at .02 the class token hardly attends to anything
        model.cls_token += torch.randn_like(model.cls_token)
        model.positional_embedding += 0.5 * torch.randn_like(model.positional_embedding)
    return model, JaxBlock(attention=attention, **options), ported(model.state_dict())


def whole_twins(attention: str, frozen_backbone: bool, **options):
    """A ResNet of four blocks with attention in both frameworks, and its variables."""
    torch.manual_seed(0)
    options = {
        "layers": (1, 1, 1, 1), "img_size": 16, "num_classes": CLASSES, "embed_dim": 24,
        "num_heads": 2, "dropout": 0.0,
        "attention": attention, "frozen_backbone": frozen_backbone,
    } | options  # fmt: skip
    model = with_noise(ResNetWithAttention(**options))
    return model, JaxModel(**options), ported(model.state_dict())


def ported(state: dict) -> dict:
    """A state_dict, or gradients by name, as {"params": ..., "batch_stats": ...} of our names."""
    leaves = {"running_mean": "mean", "running_var": "var"}
    flat = {}
    for name, tensor in state.items():
        *path, leaf = re.sub(r"\b(layer\d|downsample|mlp)\.(\d)", r"\1_\2", name).split(".")
        array = tensor.detach().numpy()
        if leaf == "num_batches_tracked":
            continue
        if leaf == "weight":
            leaf = "scale" if array.ndim == 1 else "kernel"
            array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        kind = "batch_stats" if leaf in leaves else "params"
        flat[kind, *path, leaves.get(leaf, leaf)] = array
    return unflatten_dict(flat)


def random_batch(size: int, img_size: int, channels: int = 3, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(size, img_size, img_size, channels)).astype(np.float32)
    return images, rng.integers(0, CLASSES, size)


def to_torch(images: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    return torch.tensor(images, dtype=dtype).permute(0, 3, 1, 2)


def in_torch(model: nn.Module, batch: Batch, dtype: torch.dtype) -> dict[str, np.ndarray]:
    """Logits in evaluation and in training, gradients and new statistics, by name."""
    model = copy.deepcopy(model).to(dtype)
    images = to_torch(batch[0], dtype)
    found = {"evaluation": model.eval()(images).detach().numpy()}
    logits = model.train()(images)
    F.cross_entropy(logits, torch.tensor(batch[1])).backward()
    found["training"] = logits.detach().numpy()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return found | _flat("gradient", ported(grads)["params"]) | _statistics(model)


def _statistics(model: nn.Module) -> dict[str, np.ndarray]:
    return _flat("statistics", ported(model.state_dict()).get("batch_stats", {}))


def in_jax(model, variables: dict, batch: Batch) -> dict[str, np.ndarray]:
    """The same from JAX; what has no gradient at all is left out, as PyTorch leaves it out."""
    images, labels = batch
    apply, gradients = _compiled(model)
    others = {name: part for name, part in variables.items() if name != "params"}
    grads, (logits, stats) = gradients(variables["params"], others, images, labels)
    if getattr(model, "frozen_backbone", False):
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads.pop("backbone")))
        stats = variables["batch_stats"]
    found = {"evaluation": apply(variables, images), "training": logits}
    return found | _flat("gradient", grads) | _flat("statistics", stats)


@cache
def _compiled(model) -> tuple[Callable, Callable]:
    """model.apply, and the gradients of the loss with the logits and new statistics."""

    def loss(params, others, images, labels):
        logits, new = model.apply(
            others | {"params": params}, images, deterministic=False, mutable=["batch_stats"]
        )
        log_p = jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels]
        return -log_p.mean(), (logits, new.get("batch_stats", {}))

    return jax.jit(model.apply), jax.jit(jax.grad(loss, has_aux=True))


def _flat(part: str, tree: dict) -> dict[str, np.ndarray]:
    return {"/".join(path): leaf for path, leaf in flatten_dict({part: tree}).items()}


def distances(title: str, model: nn.Module, jax_model, variables: dict, batch: Batch) -> list[Row]:
    """A row for each of PARTS, all of its arrays as one vector.

    Layer by layer the gradients of a deep network are sums of the same roundings.
    """
    ours = in_jax(jax_model, variables, batch)
    theirs, truth = (in_torch(model, batch, dtype) for dtype in (torch.float32, torch.float64))
    assert ours.keys() == theirs.keys() == truth.keys()
    rows = []
    for part in PARTS:
        names = [name for name in truth if name.startswith(part)]
        if names:
            vectors = [
                np.concatenate([np.ravel(np.asarray(each[name], np.float64)) for name in names])
                for each in (ours, theirs, truth)
            ]
            rows.append(distance(f"{title}: {part}", *vectors))
    return rows
