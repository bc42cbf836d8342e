"""A finished run, to be used: its model, its best parameters, and a look at one picture."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxvit.augment.normalize import normalize
from jaxvit.checkpoint import Checkpoints
from jaxvit.compiler import jit
from jaxvit.config import Config, UserError, config_from_dict
from jaxvit.data.images import decode_image
from jaxvit.models.transformer import VisionTransformer, make_model
from jaxvit.optim import make_optimizer
from jaxvit.shapes import Array
from jaxvit.state import Params, create_state, init_params


class SavedRun(NamedTuple):
    """What training left behind.

    Attributes:
      config: of the run.
      class_names: K names; logits are in their order.
      model: called as model.apply({"params": params}, images, deterministic=True).
      params: of the best state (its running average, where the run kept one).
      probabilities: uint8 (B, H, W, C) at the model's size to float32 (B, K), compiled.
    """

    config: Config
    class_names: tuple[str, ...]
    model: VisionTransformer
    params: Params
    probabilities: Callable[[Array], Array]


def load_run(path: str | Path) -> SavedRun:
    """Reads a run directory.

    Raises:
      UserError: it is not one, or holds no whole checkpoint.
    """
    path = Path(path)
    try:
        config = config_from_dict(Config, json.loads((path / "config.json").read_text()))
        class_names = tuple(json.loads((path / "split.json").read_text())["class_names"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a run directory ({error}): train one first") from error
    model = make_model(config.model, len(class_names))
    tx = make_optimizer(config.optim, total_steps=1)
    like = create_state(init_params(model, seed=0), tx, ema=config.optim.ema_decay > 0)
    with Checkpoints(path / "checkpoints", config.checkpoint.keep) as checkpoints:
        state = checkpoints.restore_best(like=like)
    params = state.eval_params

    @jit
    def probabilities(images: Array) -> Array:
        batch = normalize(images, config.data.mean, config.data.std)
        return jax.nn.softmax(model.apply({"params": params}, batch, deterministic=True))

    return SavedRun(config, class_names, model, params, probabilities)


def classify(run: SavedRun, image: str | Path) -> dict[str, float]:
    """The probability of each class for one picture, the most probable first.

    Args:
      run: of load_run, trained on RGB images.
      image: path of a JPEG or PNG; resized as in training.

    Raises:
      UserError: it cannot be read as an image, or the run was trained on grey images.
    """
    if run.model.in_channels != 3:
        raise UserError("this run was trained on one-channel images, and a picture file has three")
    try:
        data = Path(image).read_bytes()
    except OSError as error:
        raise UserError(f"{image} cannot be read ({error.strerror})") from error
    pixels = decode_image(data, run.model.img_size, str(image))
    probabilities = np.asarray(run.probabilities(pixels[None])[0])
    order = np.argsort(-probabilities)
    return {run.class_names[k]: float(probabilities[k]) for k in order}
