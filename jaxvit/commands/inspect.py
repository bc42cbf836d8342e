"""python -m jaxvit inspect FILE|RUN: what a run or a weights file is."""

from dataclasses import dataclass

from jaxvit.commands import arguments as cli
from jaxvit.interop.description import describe_pretrained
from jaxvit.interop.load import load_pretrained


@dataclass(frozen=True)
class Options:
    """Layout, model, parameters and their hash, preprocessing, classes, and every tensor."""

    path: cli.Run  # A run, a weights file, or hf://OWNER/NAME.


def run(options: Options) -> int:
    """Prints what it is.

    Raises:
      UserError: it cannot be read.
    """
    for line in describe_pretrained(load_pretrained(options.path), options.path):
        print(line)
    return 0
