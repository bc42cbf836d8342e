"""The options that both benchmarks share, and their checks."""

import argparse
import math
from pathlib import Path

from jaxvit.errors import UserError
from jaxvit.speed.workload import MODELS


def make_parser(
    module: str, description: str, seconds: float, sweep: bool
) -> argparse.ArgumentParser:
    """The parser of `python -m module`; parse with `parse_checked`.

    Args:
      module: dotted name.
      description: printed by --help.
      seconds: default of --seconds.
      sweep: whether --img-size and --batch-size take several values. They are lists either way.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    nargs, several = ("+", "several values: a sweep") if sweep else (1, None)
    parser.add_argument("--model", choices=MODELS, default="vit-s16")
    parser.add_argument(
        "--img-size", "--image-size", type=int, nargs=nargs, default=[224], help=several
    )
    parser.add_argument("--batch-size", type=int, nargs=nargs, default=[32], help=several)
    parser.add_argument("--processes", type=int, default=3, help="per candidate")
    parser.add_argument("--seconds", type=float, default=seconds, help="per measurement")
    parser.add_argument("--out", type=Path, default=Path("runs/speed"), metavar="DIR")
    return parser


def parse_checked(parser: argparse.ArgumentParser, args: list[str]) -> argparse.Namespace:
    """The options, if a benchmark can run with them.

    Raises:
      UserError: an image size is no multiple of the patch size, or a number is not above 0.
    """
    options = parser.parse_args(args)
    patch = MODELS[options.model].patch_size
    for size in options.img_size:
        if size < patch or size % patch:
            nearest = max(1, round(size / patch)) * patch
            raise UserError(
                f"--img-size {size} is out of range: {options.model} takes multiples of {patch}, "
                f"such as {nearest}"
            )
    positive = [("batch-size", size) for size in options.batch_size]
    positive += [("processes", options.processes), ("seconds", options.seconds)]
    for name, value in positive:
        if not 0 < value < math.inf:
            raise UserError(f"--{name} {value} is out of range: it must be finite and above 0")
    return options
