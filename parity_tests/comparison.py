"""How the two frameworks are compared: all tolerances, and helper functions."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch

from jaxvit.config import OF_DCGAN, OF_RESNET, OF_UNET, ModelConfig
from jaxvit.interop.torch_weights import params_from_state_dict, state_dict_from_params
from jaxvit.models import transformer as jax_transformer
from torch_ref import transformer as torch_transformer

# Limits on the largest absolute difference in float32, for values of order one, with the causes.
LOGITS = 1e-5  # each framework sums up to 3,072 terms of a dot product in its own order
GRADIENTS = 1e-5
ADAMW = 1e-5  # 200 steps of at most 1e-3 each, on equal gradients
REPLAY = 1e-6  # one multiplication and one addition per pixel
LOSS = 1e-6
SATURATED = 1e-3  # also relative: scores in the thousands have rounding of 3e-4, which enters exp
BFLOAT16 = 1e-2  # 8 significant bits
# JAX's distance from float64 may be at most this many times PyTorch's.
RATIO = 3.0
# Distances up to this size are rounding in either framework, and the ratio of two is noise.
FLOOR = 1e-7

# Beside the checkout: data/oxford-iiit-pet with photographs, if they were downloaded.
SHARED = Path(__file__).resolve().parents[2] / "shared"

# Of ModelConfig: they change no function, or are of other models.
ONLY_IN_JAX = (
    "dtype", "remat", "init", "name", *OF_RESNET, *OF_DCGAN,
    *(name for name in OF_UNET if name != "dropout"),
)  # fmt: skip

SMALL = {
    "img_size": 16,
    "patch_size": 4,
    "in_channels": 3,
    "num_classes": 7,
    "embed_dim": 24,
    "num_heads": 3,
    "num_layers": 2,
}


def max_difference(a, b) -> float:
    """max |a - b| of two arrays or tensors of the same shape, computed in float64."""
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    assert a.shape == b.shape
    return float(np.abs(a - b).max())


def twins(seed: int = 0, **options):
    """The same model in both frameworks, with the same weights.

    Norm parameters and biases get added noise of standard deviation 0.1. At their initial values
    of 0 and 1, swapping or omitting one of them would not change the output.

    Args:
      seed: of torch.manual_seed.
      options: arguments of VisionTransformer that differ from SMALL.

    Returns:
      The torch model, the JAX model, and the JAX params with the torch model's weights.
    """
    torch.manual_seed(seed)
    options = SMALL | options
    torch_model = torch_transformer.VisionTransformer(**options)
    with torch.no_grad():
        for parameter in torch_model.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    jax_model = jax_transformer.VisionTransformer(**options)
    return torch_model, jax_model, as_params(torch_model)


def torch_twin(config: ModelConfig, params) -> torch_transformer.VisionTransformer:
    """The torch model of a configuration, with the weights of JAX params."""
    weights = state_dict_from_params(jax.device_get(params))
    options = {name: value for name, value in vars(config).items() if name not in ONLY_IN_JAX}
    classes = len(weights["head.bias"]) if "head.bias" in weights else 0
    model = torch_transformer.VisionTransformer(num_classes=classes, **options)
    model.load_state_dict({name: torch.tensor(weight) for name, weight in weights.items()})
    return model


def as_params(module: torch.nn.Module):
    """A torch module's weights as JAX params."""
    state_dict = {name: value.numpy() for name, value in module.state_dict().items()}
    return jax.tree.map(jnp.asarray, params_from_state_dict(state_dict))


def to_nhwc(images: torch.Tensor) -> jax.Array:
    """(N, C, H, W) to (B, H, W, C)."""
    return jnp.asarray(images.permute(0, 2, 3, 1).contiguous().numpy())


def to_nchw(images: jax.Array) -> np.ndarray:
    """(B, H, W, C) to (N, C, H, W)."""
    return np.asarray(images).transpose(0, 3, 1, 2)
