"""python -m jaxvit inspect FILE|RUN: what a run or a weights file is."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxvit.commands import arguments as cli
from jaxvit.explain.position_similarity import position_similarity
from jaxvit.interop.description import describe_pretrained
from jaxvit.interop.pretrained import Pretrained
from jaxvit.interop.weights_file import output_file
from jaxvit.models.variables import split
from jaxvit.paths import check_writable, user_path
from jaxvit.pictures.weights import plot_filters, plot_position_similarity


@dataclass(frozen=True)
class Options:
    """Layout, model, parameters and their hash, preprocessing, classes, and every tensor."""

    path: cli.Run  # A run, a weights file, or hf://OWNER/NAME.
    # Draw the first layer's filters and the similarity of positions into this directory.
    draw: cli.Directory = None
    # A setting of a weights file over what is found, such as num_heads=3 or gelu=tanh.
    weights_option: cli.WeightsOption = ()


def run(options: Options) -> int:
    """Prints what it is.

    Raises:
      UserError: it cannot be read, or a picture cannot be written.
    """
    out = None if options.draw is None else user_path("draw", options.draw)
    if out is not None:
        check_writable("draw", out)
    found = cli.load_weights(options.path, options.weights_option)
    for line in describe_pretrained(found, options.path):
        print(line)
    if out is not None:
        for path in draw(found, out):
            cli.to_stderr(f"drawn: {path}")
    return 0


def draw(found: Pretrained, out: Path) -> list[Path]:
    """filters.png, and positions.png of a Vision Transformer."""
    params, config = split(found.params)[0], found.model_config
    first = params.get("backbone", params)
    kernel = (
        first["conv1"]["kernel"] if "conv1" in first else first["patch_embedding"]["proj"]["kernel"]
    )
    side = config.patch_size if config.is_vit else kernel.shape[0]
    figures = {
        "filters": plot_filters(np.asarray(kernel).reshape(side, side, config.in_channels, -1))
    }
    if config.is_vit:
        similarity = position_similarity(params["positional_embedding"])
        figures["positions"] = plot_position_similarity(np.asarray(similarity))
    paths = []
    for name, figure in figures.items():
        paths.append(out / f"{name}.png")
        with output_file(paths[-1]) as partial:
            figure.savefig(partial, format="png", dpi=110)
    return paths
