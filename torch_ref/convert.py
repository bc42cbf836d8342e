"""python -m torch_ref.convert FILE OUT.safetensors: PyTorch's file of weights, without its code.

A .pth, .pt, .bin or .ckpt file is a pickle, which can run any program when it is loaded. Here it is
read with weights_only=True, which builds tensors and plain containers and refuses everything else.
"""

import argparse
import contextlib
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

# Under these names a training program keeps the weights beside its other state.
WRAPPERS = ("state_dict", "model", "model_state_dict", "model_ema", "teacher", "module")
PREFIXES = ("module.", "_orig_mod.")  # of DistributedDataParallel and of torch.compile


class ConversionError(ValueError):
    """A file that cannot be converted; its one line says why."""


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file by name.

    A dict under one of WRAPPERS is unwrapped, and PREFIXES that every name has are removed.

    Raises:
      ConversionError: the file cannot be read, contains code, or holds no named tensors.
    """
    if not path.is_file():
        raise ConversionError(f"{path} is not a file: check the path")
    if path.suffix == ".safetensors":
        raise ConversionError(f"{path} is a safetensors file already: use it as it is")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        reason = " ".join(str(error).split())
        if "weights_only" in reason.lower() or "unsupported" in reason.lower():
            raise ConversionError(
                f"{path} holds more than tensors, which could run code, and was not loaded: ask "
                "its author for a state_dict or a safetensors file"
            ) from error
        raise ConversionError(
            f"{path} is damaged or no file of PyTorch ({reason[:150]}): download it again"
        ) from error
    while isinstance(loaded, dict):
        inner = next((n for n in WRAPPERS if isinstance(loaded.get(n), dict)), None)
        if inner is None:
            break
        loaded = loaded[inner]
    if not isinstance(loaded, dict):
        raise ConversionError(f"{path} holds a {type(loaded).__name__}, not a dict of tensors")
    others = [name for name, value in loaded.items() if not isinstance(value, torch.Tensor)]
    if others or not loaded:
        raise ConversionError(
            f"{path} holds no dict of tensors ({others[0]!r} is none)"
            if others
            else f"{path} holds no tensor"
        )
    for prefix in PREFIXES:
        if all(str(name).startswith(prefix) for name in loaded):
            loaded = {name.removeprefix(prefix): value for name, value in loaded.items()}
    # Copies: safetensors refuses tensors that share memory or are not contiguous.
    return {str(name): value.detach().clone().contiguous() for name, value in loaded.items()}


def convert(source: Path, target: Path) -> int:
    """Writes a safetensors file, whole or not at all; returns the number of tensors.

    Raises:
      ConversionError: see read_tensors; or the target cannot be written.
    """
    if target.suffix != ".safetensors":
        raise ConversionError(f"{target} must end in .safetensors: jaxvit reads nothing else")
    tensors = read_tensors(source)
    partial = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, partial, {"format": "pt"})
        partial.replace(target)
    except OSError as error:
        raise ConversionError(f"{target} cannot be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return len(tensors)


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m torch_ref.convert", description=__doc__.partition(": ")[2].splitlines()[0]
    )
    parser.add_argument("source", type=Path, metavar="FILE", help=".pth, .pt, .bin or .ckpt")
    parser.add_argument("target", type=Path, metavar="OUT.safetensors")
    options = parser.parse_args(args)
    try:
        number = convert(options.source, options.target)
    except ConversionError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{number} tensors written to {options.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
