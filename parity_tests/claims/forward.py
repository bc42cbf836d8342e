"""Claim 1: every named module has the same output in both frameworks."""

import contextlib
import copy
import re
from collections.abc import Callable, Iterator
from functools import partial

import jax
import numpy as np
import torch
from flax import linen as nn

from jaxvit.models import transformer
from parity_tests.comparison import to_nhwc, twins
from parity_tests.evidence import Evidence, distance
from torch_ref.drop_path import DropPath

TITLE = "Forward: the output of every named module"

SHAPES = {
    "one token, batch of one": {"img_size": 4, "patch_size": 4, "batch": 1},
    "prime sizes": {
        "img_size": 33, "patch_size": 11, "embed_dim": 26, "num_heads": 13, "mlp_ratio": 2.5,
        "num_classes": 5, "batch": 3,
    },
    "as DINOv2 with registers": {
        "img_size": 28, "patch_size": 14, "layer_scale": 0.3, "register_tokens": 4,
        "norm_eps": 1e-6, "pool": "both", "batch": 2,
    },
    "as Google's, without biases of q, k, v": {
        "img_size": 16, "patch_size": 8, "gelu": "tanh", "norm_eps": 1e-6, "qkv_bias": False,
        "pool": "mean", "batch": 2,
    },
}  # fmt: skip
VIT_B16 = {
    "img_size": 224, "patch_size": 16, "embed_dim": 768, "num_heads": 12, "num_layers": 12,
    "num_classes": 37,
}  # fmt: skip


# Modules that only one of the two has.
UNSEEN = (torch.nn.GELU, torch.nn.Dropout, torch.nn.Identity, torch.nn.ModuleList, DropPath)
DROPS = {
    ("mlp_2",), ("mlp_4",), ("attn_drop",), ("proj_drop",), ("embedding_drop",), ("drop_path1",),
    ("drop_path2",),
}  # fmt: skip


def torch_name(path: tuple[str, ...]) -> str:
    """PyTorch's name of a Flax module path.

    ("transformer_encoder", "layers_0", "mlp_3") -> "transformer_encoder.layers.0.mlp.3"
    """
    return re.sub(r"\b(layers|mlp)_(\d+)", r"\1.\2", ".".join(path)) or "logits"


@contextlib.contextmanager
def intercepting(interceptor: Callable) -> Iterator[None]:
    """flax's intercept_methods, with every encoder layer traced separately.

    Layers of one shape share a trace, of which the interceptor would see only the first layer.
    """
    shared = transformer.traced_once
    transformer.traced_once = lambda layer: layer
    try:
        with nn.intercept_methods(interceptor):
            yield
    finally:
        transformer.traced_once = shared


def jax_outputs(model, params, images) -> dict[str, np.ndarray]:
    """The output of each module under its PyTorch name, and the input of the encoder."""
    run = jax.jit(lambda params, images: traced_outputs(model, params, images))
    return jax.device_get(run(params, images))


def traced_outputs(model, params, images) -> dict[str, jax.Array]:
    """The same, to be compiled; of all tokens, as wherever intermediate values are asked for."""
    found = {}

    def record(next_call, args, kwargs, context):
        out = next_call(*args, **kwargs)
        path = context.module.path
        if context.method_name == "mlp":  # a Sequential in PyTorch, a method in Flax
            path = (*path, "mlp")
        elif context.method_name != "__call__" or path[-1:] in DROPS:
            return out
        name = torch_name(path)
        if name == "transformer_encoder":
            found["tokens with positions"] = args[0]
        found[name] = out
        return out

    with intercepting(record):
        model.apply({"params": params}, images, deterministic=True, mutable=["intermediates"])
    return found


def jax_logits(model, params, images) -> np.ndarray:
    """As anyone computes them: the last layer gives the tokens that the head reads, no others."""
    return np.asarray(_applied(model, params, images))


@partial(jax.jit, static_argnums=0)
def _applied(model, params, images) -> jax.Array:
    return model.apply({"params": params}, images, deterministic=True)


def torch_outputs(model: torch.nn.Module, images: torch.Tensor) -> dict[str, np.ndarray]:
    """The same for the PyTorch model, by forward hooks."""
    found = {}

    def keep(name: str):
        def hook(_module, args, out):
            if name == "transformer_encoder":
                found["tokens with positions"] = args[0].detach().clone().numpy()
            # A convolution returns (N, D, H, W); Flax has the channels last.
            out = out.permute(0, 2, 3, 1) if out.ndim == 4 else out
            found[name or "logits"] = out.detach().clone().numpy()

        return hook

    hooks = [
        module.register_forward_hook(keep(name))
        for name, module in model.named_modules()
        if not isinstance(module, UNSEEN)
    ]
    with torch.no_grad():
        model.eval()(images)
    for hook in hooks:
        hook.remove()
    return found


def measure(quick: bool) -> Evidence:
    rows = []
    shapes = dict(SHAPES)
    if not quick:
        shapes["ViT-B/16"] = VIT_B16 | {"batch": 2}
    for shape, options in shapes.items():
        options = dict(options)
        batch = options.pop("batch")
        torch_model, jax_model, params = twins(**options)
        images = torch.randn(batch, 3, options["img_size"], options["img_size"])
        ours = jax_outputs(jax_model, params, to_nhwc(images))
        theirs = torch_outputs(torch_model, images)
        truth = torch_outputs(copy.deepcopy(torch_model).double(), images.double())
        if ours.keys() != theirs.keys():
            raise AssertionError(f"modules differ: {sorted(ours.keys() ^ theirs.keys())}")
        rows += [distance(f"{shape}: {n}", ours[n], theirs[n], truth[n]) for n in truth]
        alone = jax_logits(jax_model, params, to_nhwc(images))
        rows.append(distance(f"{shape}: logits alone", alone, theirs["logits"], truth["logits"]))
    return Evidence(rows)
