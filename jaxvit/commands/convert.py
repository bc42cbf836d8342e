"""python -m jaxvit convert SRC DST --to LAYOUT: weights in the layout of another program."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from jaxvit.commands import arguments as cli
from jaxvit.config import require
from jaxvit.interop.save import save_pretrained
from jaxvit.paths import user_path
from jaxvit.runtime.digest import sha256


@dataclass(frozen=True)
class Options:
    """Writes weights in a layout, with preprocessing and class names; nothing is rounded."""

    source: Annotated[Positional[str], arg(metavar="SRC")]  # A run, a weights file, or hf://...
    # What is written: a file (.safetensors; .npz for google), or a directory, which hf and timm
    # fill with the files that their programs read by themselves.
    destination: Annotated[Positional[str], arg(metavar="DST")]
    # The layout.
    to: Literal["timm", "hf", "google", "lukemelas", "vit_pytorch", "torchvision", "lab"]
    # A setting of a weights file over what is found, such as num_heads=3 or gelu=tanh.
    weights_option: cli.WeightsOption = ()
    overwrite: cli.Flag = False  # Replace what is there under the same names.


def run(options: Options) -> int:
    """Prints the report of what was read, and warnings about the readers of the layout.

    Raises:
      UserError: SRC cannot be read, the layout cannot express it, or DST is there already.
    """
    destination = user_path("DST", options.destination)
    beside = destination.with_name(f"{destination.name}.json")  # which an npz brings with it
    for place in (destination, beside) if destination.suffix == ".npz" else (destination,):
        there = place.exists() and not (place.is_dir() and not any(place.iterdir()))
        require(
            not there or options.overwrite,
            f"{place} exists already: choose another name, or replace it with --overwrite",
        )
    found = cli.load_weights(options.source, options.weights_option)
    warnings = save_pretrained(found, destination, options.to)
    print(found.report)
    print(f"written to {destination} in the layout {options.to}")
    print(f"SHA-256 of the parameters: {sha256(found.params)}")
    for line in warnings:
        cli.to_stderr(f"warning: {line}")
    return 0
