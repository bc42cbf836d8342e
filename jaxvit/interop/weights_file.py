"""Files of arrays: safetensors and NumPy's npz, read without executing anything in them."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from jaxvit.cleanup import whole_file
from jaxvit.errors import UserError

FORMATS = (".safetensors", ".npz")
PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle")
WIDENED = ("float16", "bfloat16")  # to float32, which holds all their values
METADATA_KEY = "jaxvit"  # of what we write about a model, as JSON


class WeightsFile(NamedTuple):
    """What one file holds.

    Attributes:
      tensors: arrays by name; float16 and bfloat16 are widened to float32, which is exact.
      metadata: strings by key: safetensors' own, or the JSON file beside an npz that we wrote.
      stored: how many tensors the file has of each type, such as {"float16": 174}.
    """

    tensors: dict[str, np.ndarray]
    metadata: dict[str, str]
    stored: dict[str, int]


def read_weights_file(path: Path) -> WeightsFile:
    """Every array of a .safetensors or .npz file.

    Raises:
      UserError: it cannot be read, is truncated, holds objects instead of numbers, or is one of
        PyTorch's pickles, which can contain code and are never opened here.
    """
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise UserError(
            f"{path} is a file of PyTorch's own format, which can contain code and is not opened "
            f"here: convert it with: python -m torch_ref.convert {path} "
            f"{path.with_suffix('.safetensors').name}"
        )
    if suffix not in FORMATS:
        raise UserError(f"{path} is no weights file: its name must end in {' or '.join(FORMATS)}")
    if not path.is_file():
        raise UserError(f"{path} is not a file: check the path")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path} cannot be opened: make it readable")
    raw, metadata = (_read_safetensors if suffix == ".safetensors" else _read_npz)(path)
    stored: dict[str, int] = {}
    for name, array in raw.items():
        kind = array.dtype.name
        stored[kind] = stored.get(kind, 0) + 1
        if kind in WIDENED:
            raw[name] = array.astype(np.float32)
    return WeightsFile(raw, metadata, stored)


def _read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    try:
        with safe_open(path, "numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except MemoryError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        if _may_be_pickle(path):
            raise UserError(
                f"{path} is named .safetensors but is a zip or pickle, which can contain code and "
                "is not opened: if you trust it, rename it to .pth and convert it with: python -m "
                "torch_ref.convert"
            ) from error
        raise UserError(
            f"{path} is damaged or no safetensors file ({_one_line(error)}): download it again"
        ) from error


def _may_be_pickle(path: Path) -> bool:
    """By its first bytes, which a whole safetensors file may also have: asked only of others."""
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except OSError:
        return False
    return start == b"PK" or start[:1] == b"\x80"


def _read_npz(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    tensors = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it is a single array")
            for name in file.files:
                tensors[name] = _as_numbers(file[name])
    except MemoryError:
        raise
    except Exception as error:  # a parser may raise anything on damaged bytes
        reason = _one_line(error)
        if "allow_pickle" in reason or "pickle" in reason.lower():
            reason = "it holds Python objects, which can contain code, instead of numbers"
        elif not isinstance(error, ValueError):
            reason = f"it is damaged: {reason}"
        raise UserError(f"{path} is no npz file of arrays ({reason}): download it again") from error
    beside, metadata = path.with_name(path.name + ".json"), {}
    if beside.is_file():
        metadata[METADATA_KEY] = beside.read_text(errors="replace")
    return tensors, metadata


def _as_numbers(array: np.ndarray) -> np.ndarray:
    """npz has no bfloat16: JAX's programs store its two bytes as a void type."""
    return array.view(ml_dtypes.bfloat16) if array.dtype == np.dtype("V2") else array


def write_weights_file(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    metadata: str,
    beside: Mapping[str, Mapping] = MappingProxyType({}),
) -> None:
    """Writes .safetensors or .npz by path's ending, and files beside it: all of them or none.

    Args:
      path: of the file; its directory is made.
      tensors: contiguous arrays by name.
      metadata: JSON about the model; inside a safetensors file, and in PATH.json beside an npz.
      beside: name -> values of JSON files in the same directory.

    Raises:
      UserError: the ending is another, or the disk refuses.
    """
    if path.suffix not in FORMATS:
        raise UserError(f"{path} is no weights file: its name must end in {' or '.join(FORMATS)}")
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    texts = {
        path.with_name(name): json.dumps(values, indent=2) + "\n" for name, values in beside.items()
    }
    if path.suffix == ".npz":
        texts[path.with_name(path.name + ".json")] = metadata
    for target in (path, *texts):
        if target.is_dir():
            raise UserError(f"{target} is a directory, where a file is to be: remove it")
    with contextlib.ExitStack() as stack:  # which renames all of them at its end
        partial = {target: stack.enter_context(output_file(target)) for target in (path, *texts)}
        if path.suffix == ".npz":
            with partial[path].open("wb") as file:
                np.savez(file, **tensors)
        else:
            data = save(tensors, {"format": "pt", METADATA_KEY: metadata})
            partial[path].write_bytes(data)
        for target, text in texts.items():
            partial[target].write_text(text)


@contextlib.contextmanager
def output_file(path: Path) -> Iterator[Path]:
    """A name to write to for `path`, which is there whole or not at all; makes its directory.

    Raises:
      UserError: the disk refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            yield partial
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path} cannot be written ({reason}): choose another place") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
