"""Methods that need a model's inside, in PyTorch: Grad-CAM is pytorch-grad-cam's."""

import sys
from collections.abc import Callable
from unittest.mock import MagicMock

import jax
import numpy as np
import pytest
import torch
from torch import Tensor

from jaxvit import explain
from parity_tests.evidence import Row, distance
from parity_tests.explain.cases import Case, InTorch, in_torch

with pytest.MonkeyPatch.context() as patch:
    # pytorch-grad-cam resizes with OpenCV, which is neither needed here nor loaded.
    patch.setitem(sys.modules, "cv2", MagicMock(name="cv2"))
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

OF_ATTENTION = ("attention_map", "attention_rollout", "position_similarity")
INSIDE = ("grad_cam", *OF_ATTENTION)


def layers_of(model) -> torch.nn.ModuleList:
    """Of torch_ref's Vision Transformer, or of timm's."""
    return model.blocks if hasattr(model, "blocks") else model.transformer_encoder.layers


def torch_weights(twin: InTorch) -> list[np.ndarray]:
    """softmax(q k^T / sqrt(d)) of each layer, (B, h, N, N), from what goes into its attention."""
    found = []

    def keep(module, args):
        q, k, _ = module.qkv(args[0]).chunk(3, dim=-1)
        q, k = (z.unflatten(-1, (module.num_heads, -1)).transpose(1, 2) for z in (q, k))
        found.append((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1).detach().numpy())

    hooks = [layer.attn.register_forward_pre_hook(keep) for layer in layers_of(twin.model)]
    twin.model(twin.images)
    for hook in hooks:
        hook.remove()
    return found


def weights_of(case: Case, dtype: torch.dtype) -> np.ndarray:
    """(B, L, h, N, N)."""
    return np.stack(torch_weights(in_torch(case, dtype)), axis=1)


def map_of(weights: np.ndarray, leading: int) -> np.ndarray:
    """(B, L, n, n): the class token's row, mean over heads."""
    return as_grid(weights.mean(axis=2)[:, :, 0], leading)


def rollout_of(weights: np.ndarray, leading: int, pool: str) -> np.ndarray:
    """(B, n, n): the product of all layers with their residual path, of what the head reads."""
    eye = np.eye(weights.shape[-1], dtype=weights.dtype)
    rolled = np.broadcast_to(eye, weights[:, 0, 0].shape)
    for layer in range(weights.shape[1]):
        step = 0.5 * weights[:, layer].mean(axis=1) + 0.5 * eye
        rolled = step @ rolled
    patches = rolled[:, leading:].mean(axis=1)
    read = {"cls": rolled[:, 0], "mean": patches, "both": (rolled[:, 0] + patches) / 2}[pool]
    return as_grid(read, leading)


def as_grid(tokens: np.ndarray, leading: int) -> np.ndarray:
    side = round((tokens.shape[-1] - leading) ** 0.5)
    return tokens[..., leading:].reshape(*tokens.shape[:-1], side, side)


def cam_of(case: Case, layer: Callable, dtype: torch.dtype, transform) -> np.ndarray:
    """pytorch-grad-cam's map before it scales it to [0, 1] and to the size of the image."""
    twin = in_torch(case, dtype)
    # With gradients of the weights too, torch 2.15 ended the process with a segmentation fault,
    # here or at exit, for this narrow network at 96 pixels.
    twin.model.requires_grad_(False)
    targets = [ClassifierOutputTarget(int(each)) for each in twin.targets]
    with GradCAM(twin.model, [layer(twin.model)], reshape_transform=transform) as cam:
        outputs = cam.activations_and_grads(twin.images)
        sum(target(out) for target, out in zip(targets, outputs, strict=True)).backward()
        found = cam.get_cam_image(
            twin.images, None, targets, cam.activations_and_grads.activations[0].detach().numpy(),
            cam.activations_and_grads.gradients[0].detach().numpy(), False,
        )  # fmt: skip
    return np.maximum(found, 0)


def as_map(leading: int) -> Callable[[Tensor], Tensor]:
    """(B, N, D) tokens as maps (B, D, n, n), without the first ones."""

    def transform(tokens: Tensor) -> Tensor:
        side = round((tokens.shape[1] - leading) ** 0.5)
        return tokens[:, leading:].unflatten(1, (side, side)).permute(0, 3, 1, 2)

    return transform


def positions_of(case: Case, dtype: torch.dtype) -> np.ndarray:
    """(n, n, n, n): the cosine of each patch's position with each other's."""
    model = in_torch(case, dtype).model
    found = model.pos_embed if hasattr(model, "pos_embed") else model.positional_embedding
    patches = found.detach()[0, 1:]
    side = round(len(patches) ** 0.5)
    pairs = torch.nn.functional.cosine_similarity(patches[:, None], patches[None], dim=-1)
    return pairs.reshape(side, side, side, side).numpy()


def theirs(name: str, case: Case, dtype: torch.dtype) -> np.ndarray:
    """One of INSIDE in PyTorch."""
    transformer = hasattr(case.model, "num_heads")
    leading = 1 + getattr(case.model, "register_tokens", 0)
    if name == "grad_cam":
        if transformer:
            return cam_of(case, lambda model: layers_of(model)[-1].norm1, dtype, as_map(leading))
        return cam_of(case, lambda model: model.layer4[-1], dtype, None)
    if name == "attention_map":
        return map_of(weights_of(case, dtype), leading)
    if name == "attention_rollout":
        return rollout_of(weights_of(case, dtype), leading, case.model.pool)
    return positions_of(case, dtype)


def ours(name: str, case: Case) -> np.ndarray:
    """One of INSIDE in JAX."""
    args = (case.model, case.variables, case.images)
    if name == "grad_cam":
        return explain.grad_cam(*args, case.targets)
    if name == "attention_map":
        return explain.attention_map(*args)
    if name == "attention_rollout":
        return explain.attention_rollout(*args)
    return explain.position_similarity(case.variables["params"]["positional_embedding"])


def row(name: str, case: Case) -> Row:
    """JAX's distance from PyTorch in float64 over that of PyTorch in float32."""
    return distance(
        f"{case.title}: {name}",
        jax.device_get(ours(name, case)),
        theirs(name, case, torch.float32),
        theirs(name, case, torch.float64),
    )


def rows(case: Case) -> list[Row]:
    """All that the model has: a ResNet has neither attention nor positions."""
    names = INSIDE if hasattr(case.model, "num_heads") else INSIDE[:1]
    return [row(name, case) for name in names]
