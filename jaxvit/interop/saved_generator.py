"""A run that makes images, to be used."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from flax import linen as nn

from jaxvit.config import Config
from jaxvit.errors import UserError
from jaxvit.interop.saved_run import check_shapes, read_class_names, read_config, selected_weights
from jaxvit.models.configured import make_generator
from jaxvit.models.variables import joined


class SavedGenerator(NamedTuple):
    """What training left behind.

    Attributes:
      config: of the run.
      class_names: K names of the classes of its images.
      model: a jaxvit.models.dcgan.Generator or jaxvit.models.unet.UNet.
      weights: of the selected state (their running average, where the run kept one): parameters,
        with batch statistics where the model has any.
      step: of that state.
    """

    config: Config
    class_names: tuple[str, ...]
    model: nn.Module
    weights: Any
    step: int


def load_generator(
    path: str | Path, warn: Callable[[str], None] = lambda line: print(line, file=sys.stderr)
) -> SavedGenerator:
    """Reads the directory of a run that makes images; see jaxvit.interop.saved_run.load_run.

    Raises:
      UserError: it is no run directory, holds no whole checkpoint, or its run makes no images.
    """
    path = Path(path)
    config = read_config(path)
    if not config.makes_images:
        raise UserError(
            f"{path} was trained with --method {config.method}, which makes no images: give a run "
            "of gan or diffusion, such as the preset digits-ddpm trains"
        )
    class_names = read_class_names(path)
    model = make_generator(config.model, len(class_names), config.diffusion.steps)
    step, found = selected_weights(path, config, warn)
    if "extra" in found:  # no running average was kept
        parts = (found["params"], found["extra"])
        if config.method == "gan":
            parts = tuple(part["generator"] for part in parts)
        found = joined(*parts)
    check_shapes(path, model, found)
    return SavedGenerator(config, class_names, model, found, step)
