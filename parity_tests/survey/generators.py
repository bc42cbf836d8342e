"""DCGAN's networks and the U-Net in both frameworks, with equal weights and statistics."""

import re

import jax.numpy as jnp
import numpy as np
import torch
from flax.traverse_util import flatten_dict, unflatten_dict
from torch import nn

from jaxvit.models import dcgan, unet
from torch_ref.survey import dcgan as torch_dcgan
from torch_ref.survey import unet as torch_unet

SIZE, CHANNELS, CLASSES, Z = 16, 3, 5, 12
UNET = {"width": 16, "channel_multipliers": (1, 2), "blocks": 1, "attention_sizes": (8,)}
LISTS = re.compile(r"\b(norms|ups|downs|down|up|middle|shrink|grow)\.(\d+)")
LEAVES = {"running_mean": "mean", "running_var": "var"}


@torch.no_grad()
def with_noise(model: nn.Module) -> nn.Module:
    """What begins with 0, 1 or nearly the same numbers would hide a mistake."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 or not parameter.any() or name.startswith("classes"):
            parameter += 0.2 * torch.randn_like(parameter)
    return model


def gan_twins(size: int = SIZE, num_classes: int = CLASSES):
    """(torch, JAX, variables) of the generator, and of the discriminator."""
    torch.manual_seed(0)
    options = {"width": 8, "num_classes": num_classes}
    theirs = (
        torch_dcgan.Generator(size, CHANNELS, z_dim=Z, **options),
        torch_dcgan.Discriminator(size, CHANNELS, **options),
    )
    ours = (
        dcgan.Generator(size, CHANNELS, z_dim=Z, **options),
        dcgan.Discriminator(size, CHANNELS, **options),
    )
    with torch.no_grad():
        for parameter in (each for net in theirs for each in net.parameters()):
            # At .02 the maps are so small that BatchNorm divides by its epsilon.
            parameter *= 5 if parameter.ndim == 4 else 1
    return [(with_noise(a), b, ported(a.state_dict())) for a, b in zip(theirs, ours, strict=True)]


def unet_twins(size: int = SIZE, num_classes: int = CLASSES, **options):
    """(torch, JAX, params) of the U-Net."""
    torch.manual_seed(0)
    options = UNET | {"num_classes": num_classes} | options
    ours = unet.UNet(size, CHANNELS, **options)
    options["multipliers"] = options.pop("channel_multipliers")
    theirs = with_noise(torch_unet.UNet(size, CHANNELS, **options))
    return theirs, ours, ported(theirs.state_dict())["params"]


def ported(state: dict) -> dict:
    """A state_dict, or gradients by name, as {"params": ..., "batch_stats": ...} of our names."""
    flat = {}
    for name, tensor in state.items():
        *path, leaf = LISTS.sub(r"\1_\2", name).split(".")
        array = tensor.detach().numpy()
        if leaf == "num_batches_tracked":
            continue
        if path == ["classes"]:
            path, leaf = [], "classes"
        elif leaf == "weight":
            leaf = "scale" if array.ndim == 1 else "kernel"
            transposed = re.match(r"project|ups_|to_image", path[0])
            axes = (2, 3, 0, 1) if transposed else (2, 3, 1, 0)
            array = array.transpose(axes) if array.ndim == 4 else array.T
        kind = "batch_stats" if leaf in LEAVES else "params"
        flat[kind, *path, LEAVES.get(leaf, leaf)] = jnp.asarray(np.ascontiguousarray(array))
    return unflatten_dict(flat)


def vector(tree: dict) -> np.ndarray:
    """All numbers of a tree, in the order of its names, as float64."""
    flat = flatten_dict(tree, sep="/")
    arrays = [np.ravel(np.asarray(flat[name], np.float64)) for name in sorted(flat)]
    return np.concatenate([np.zeros(0), *arrays])


def gradients_of(model: nn.Module) -> np.ndarray:
    """Those of a torch network, as one vector, in our order."""
    return vector(ported({name: each.grad for name, each in model.named_parameters()})["params"])


def statistics_of(model: nn.Module) -> np.ndarray:
    """Running statistics of a torch network, as one vector, in our order."""
    return vector(ported(model.state_dict()).get("batch_stats", {}))


def random_images(number: int, size: int = SIZE, seed: int = 0) -> torch.Tensor:
    """(N, C, size, size), in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(number, CHANNELS, size, size, generator=generator) * 2 - 1
