"""Small models of the real classes, and their weights as our parameters."""

import jax
import jax.numpy as jnp
import timm
import torch
from flax.traverse_util import unflatten_dict

from jaxvit.interop.reading import read_layout, recognise

SIZE, PATCH, WIDTH, LAYERS, HEADS = 8, 4, 24, 3, 3
# "pytorch-pretrained-vit" has its sizes in a table, from which alone it can be built.
LUKEMELAS = {
    "config": {
        "patches": (PATCH, PATCH), "dim": WIDTH, "ff_dim": 4 * WIDTH, "num_heads": HEADS,
        "num_layers": LAYERS, "attention_dropout_rate": 0.0, "dropout_rate": 0.0,
        "representation_size": None, "classifier": "token",
    },
    "num_classes": 7,
    "image_size": (SIZE, SIZE),
}  # fmt: skip


def timms(num_classes: int = 5) -> torch.nn.Module:
    torch.manual_seed(0)
    model = timm.models.VisionTransformer(
        img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, depth=LAYERS, num_heads=HEADS,
        num_classes=num_classes,
    )  # fmt: skip
    return with_noise(model)


def lukemelas(monkeypatch) -> torch.nn.Module:
    from pytorch_pretrained_vit import model

    monkeypatch.setitem(model.PRETRAINED_MODELS, "small", LUKEMELAS)
    torch.manual_seed(0)
    return with_noise(model.ViT("small"))


@torch.no_grad()
def with_noise(model: torch.nn.Module) -> torch.nn.Module:
    """At 0 and 1, swapping two biases or norms would not be seen."""
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def as_params(model: torch.nn.Module) -> dict:
    """Under our names, in float32."""
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    flat = read_layout(tensors, recognise(tensors, "the model"), "the model").flat
    return jax.tree.map(jnp.asarray, unflatten_dict(flat, sep="/"))
