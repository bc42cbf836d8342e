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
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Params = dict[str, Any]  # nested, with arrays at the leaves

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
      ValueError: a weight has a number of axes that no layer of the model has.
    """
    params: Params = {}
    for name, value in state_dict.items():
        path, array = _to_flax(name, np.asarray(value))
        node = params
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = array
    return params


def state_dict_from_params(params: Params) -> dict[str, np.ndarray]:
    """The inverse of params_from_state_dict.

    Args:
      params: nested dict of arrays, as `model.init(...)["params"]`.

    Returns:
      NumPy arrays under PyTorch's names, contiguous, so that torch.from_numpy takes them.
    """
    return dict(_to_torch(path, np.asarray(value)) for path, value in _leaves(params))


def _to_flax(name: str, array: np.ndarray) -> tuple[list[str], np.ndarray]:
    path = re.sub(r"\b(layers|mlp)\.(\d+)", r"\1_\2", name).split(".")
    if path[-1] != "weight":
        return path, array
    if array.ndim == 1:
        return [*path[:-1], "scale"], array
    if array.ndim == 2:
        return [*path[:-1], "kernel"], array.T
    if array.ndim == 4:
        return [*path[:-1], "kernel"], array.transpose(CONV_TO_FLAX)
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


def _leaves(params: Params, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value
