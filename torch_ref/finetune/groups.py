"""Parts of a Vision Transformer: param groups with a rate for each layer, and freezing.

Parameters are told apart by the names that timm, pytorch-pretrained-vit and torch_ref.transformer
give them.
"""

import re

from torch import nn

EMBEDDINGS = ("patch_embed", "cls_token", "class_token", "pos_embed", "positional_embedding",
              "reg_token", "registers")  # fmt: skip
LAYER = re.compile(r"(?:transformer\.blocks|blocks|transformer_encoder\.layers)\.(\d+)\.")
TOP = ("norm.", "fc_norm.", "head.", "fc.")
HEADS = ("head.", "fc.")


def layer_group(name: str, num_layers: int) -> int:
    """0 for the embeddings, i + 1 for layer i, and num_layers + 1 for the last norm and the head.

    Args:
        name: of a parameter, as in model.named_parameters().
        num_layers: L of the model.

    Raises:
        ValueError: a parameter that none of these models has.
    """
    if found := LAYER.match(name):
        return int(found[1]) + 1
    if name.startswith(EMBEDDINGS):
        return 0
    if name.startswith(TOP):
        return num_layers + 1
    raise ValueError(f"{name} is not a parameter of a Vision Transformer")


def count_layers(model: nn.Module) -> int:
    """The number of encoder layers, L."""
    found = (LAYER.match(name) for name, _ in model.named_parameters())
    return 1 + max(int(match[1]) for match in found if match)


def param_groups(
    model: nn.Module,
    lr: float,
    weight_decay: float,
    layer_decay: float = 1.0,
    head_lr: float = 1.0,
    decay: str = "all",
) -> list[dict]:
    """Groups for torch.optim, of what is trained, with lr layer_decay^(L + 1 - group) as rates.

    Args:
        model: frozen parameters (requires_grad False) are left out.
        lr: of the last norm and, times head_lr, of the head.
        weight_decay: of what decays.
        layer_decay: in (0, 1]; 1 for one rate.
        head_lr: the head's own multiple, above 0.
        decay: "all", or "matrices": biases, norms, tokens and positions do not decay.

    Returns:
        One group for each rate and decay, in the order of the parameters.

    Source: Clark et al. 2020, arXiv:2003.10555; Bao et al. 2021, arXiv:2106.08254, for images.
    """
    top = count_layers(model) + 1
    groups = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = lr * layer_decay ** (top - layer_group(name, top - 1))
        if name.startswith(HEADS):
            rate *= head_lr
        is_matrix = name.endswith("weight") and parameter.ndim > 1
        own = weight_decay if decay == "all" or is_matrix else 0.0
        group = groups.setdefault((rate, own), {"params": [], "lr": rate, "weight_decay": own})
        group["params"].append(parameter)
    return list(groups.values())


def freeze(model: nn.Module, part: str) -> nn.Module:
    """Marks what is not trained: it gets no gradient, and autograd stores nothing for it.

    Args:
        model: whose parameters are marked, in place.
        part: "none"; "backbone", all but the head; or "N layers", the embeddings and the first N
            layers.

    Returns:
        The model.

    Raises:
        ValueError: there is no such part.
    """
    layers = re.fullmatch(r"(\d+) layers?", part)
    if part not in ("none", "backbone") and layers is None:
        raise ValueError(f'{part!r} is none of "none", "backbone" and "N layers"')
    total = count_layers(model)
    if layers and int(layers[1]) > total:
        raise ValueError(f"the model has {total} layers, and {part} cannot be frozen")
    for name, parameter in model.named_parameters():
        if part == "backbone":
            trains = name.startswith(HEADS)
        else:
            trains = part == "none" or layer_group(name, total) > int(layers[1])
        parameter.requires_grad_(trains)
    return model
