"""PyTorch's state_dict to Flax's params and back: names and layouts, NumPy in and out.

Both directions only rename and transpose, so a round trip returns every bit. The rules:

| PyTorch                 | Flax                     | layout                               |
|-------------------------|--------------------------|--------------------------------------|
| `layers.N`              | `layers_N`               |                                      |
| `mlp.0`, `mlp.3`        | `mlp_0`, `mlp_3`         |                                      |
| Linear `weight` (out,in)| `kernel` (in, out)       | transposed                           |
| Conv2d `weight` (o,i,h,w)| `kernel` (h, w, i, o)   | axes 2, 3, 1, 0                      |
| LayerNorm `weight`      | `scale`                  |                                      |
| all others              | the same                 |                                      |
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

Params = dict[str, Any]  # nested, with arrays at the leaves

# Names of torch_ref.transformer's parameters, also those of its modules alone.
OURS = re.compile(
    r"""cls_token | positional_embedding | registers
    | ((patch_embedding\.)? (proj|norm_patch|norm) | head) \. (weight|bias)
    | ((transformer_encoder\.)? layers\.\d+\.)?
      ((norm[12] | mlp\.[03] | attn\.(qkv|fc_out)) \. (weight|bias) | ls[12]\.gamma)
    | ((qkv|fc_out)\.)? (weight|bias) | gamma""",
    re.VERBOSE,
)
CONV_TO_FLAX = (2, 3, 1, 0)
CONV_TO_TORCH = (3, 2, 0, 1)


def params_from_state_dict(state_dict: Mapping[str, Any]) -> Params:
    """A VisionTransformer's parameters under Flax's names.

    Args:
      state_dict: arrays, or anything that NumPy can view as one, under the names of
        torch_ref.transformer.VisionTransformer.

    Returns:
      A nested dict of NumPy arrays of the same dtypes.

    Raises:
      ValueError: a name is none of the model's, or a weight has a number of axes that no layer of
        the model has.
    """
    foreign = [name for name in state_dict if not OURS.fullmatch(name)]
    if foreign:
        raise ValueError(
            f"{foreign[0]!r} is no parameter of torch_ref.transformer.VisionTransformer "
            f"({len(foreign)} of {len(state_dict)} names are foreign): convert the weights of "
            "another library to its names first"
        )
    return unflatten_dict(
        dict(_to_flax(name, np.asarray(value)) for name, value in state_dict.items())
    )


def state_dict_from_params(params: Params) -> dict[str, np.ndarray]:
    """The inverse of params_from_state_dict.

    Args:
      params: nested dict of arrays, as `model.init(...)["params"]`.

    Returns:
      NumPy arrays under PyTorch's names, contiguous, so that torch.from_numpy takes them.
    """
    return dict(_to_torch(path, np.asarray(value)) for path, value in flatten_dict(params).items())


def _to_flax(name: str, array: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    path = tuple(re.sub(r"\b(layers|mlp)\.(\d+)", r"\1_\2", name).split("."))
    if path[-1] != "weight":
        return path, array
    if array.ndim == 1:
        return (*path[:-1], "scale"), array
    if array.ndim == 2:
        return (*path[:-1], "kernel"), array.T
    if array.ndim == 4:
        return (*path[:-1], "kernel"), array.transpose(CONV_TO_FLAX)
    raise ValueError(
        f"{name} has {array.ndim} axes, but a weight has 1 (LayerNorm), 2 (Linear) or 4 (Conv2d): "
        "is this a VisionTransformer's state_dict?"
    )


def _to_torch(path: tuple[str, ...], array: np.ndarray) -> tuple[str, np.ndarray]:
    *parents, leaf = path
    if leaf == "scale":
        leaf = "weight"
    elif leaf == "kernel":
        leaf = "weight"
        array = array.transpose(CONV_TO_TORCH) if array.ndim == 4 else array.T
    name = re.sub(r"\b(layers|mlp)_(\d+)", r"\1.\2", ".".join([*parents, leaf]))
    return name, np.ascontiguousarray(array)
