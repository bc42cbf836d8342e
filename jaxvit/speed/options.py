"""The options that the contests share, and what they may be."""

import argparse
import math
from collections.abc import Iterable
from pathlib import Path

from jaxvit.errors import UserError
from jaxvit.speed.workload import MODELS


def make_parser(module: str, description: str, seconds: float) -> argparse.ArgumentParser:
    """For `python -m module`.

    Args:
      seconds: that a process spends on each measurement, where --seconds does not say otherwise.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", choices=MODELS, default="vit-s16")
    parser.add_argument("--processes", type=int, default=3, help="of each side")
    parser.add_argument("--seconds", type=float, default=seconds, help="of each measurement")
    parser.add_argument("--out", type=Path, default=Path("runs/speed"), metavar="DIR")
    return parser


def check(
    options: argparse.Namespace, img_sizes: Iterable[int], batch_sizes: Iterable[int]
) -> None:
    """Refuses what cannot be run.

    Raises:
      UserError: a size that the model cannot cut into patches, or a number that is not above 0.
    """
    patch = MODELS[options.model][3]
    for size in img_sizes:
        if size < patch or size % patch:
            nearest = max(1, round(size / patch)) * patch
            raise UserError(
                f"--img-size {size} is out of range: {options.model} takes multiples of {patch}, "
                f"such as {nearest}"
            )
    counts = [("batch-size", size) for size in batch_sizes]
    counts += [("processes", options.processes), ("seconds", options.seconds)]
    for name, value in counts:
        if not 0 < value < math.inf:
            raise UserError(f"--{name} {value} is out of range: it must be finite and above 0")
