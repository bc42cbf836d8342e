"""A run of our own, to be used: its model, its best weights, and predictions for photos."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxvit.augment.normalize import normalize
from jaxvit.config import Config, config_from_dict
from jaxvit.data.datasets import scoring_geometry
from jaxvit.data.images import decode_image, prepare_image
from jaxvit.errors import UserError
from jaxvit.models.transformer import VisionTransformer, make_model
from jaxvit.objectives.metrics import MONITOR
from jaxvit.runs.saved_items import read_weights
from jaxvit.runtime.compiler import jit
from jaxvit.shapes import Array

Photo = str | Path | Image.Image | np.ndarray


class SavedRun(NamedTuple):
    """What training left behind.

    Attributes:
      config: of the run.
      class_names: K names; logits are in their order.
      model: called as model.apply({"params": params}, images, deterministic=True).
      params: of the best state, or of the last where config.select says so (its running average,
        where the run kept one).
      step: of that state.
      probabilities: uint8 (B, H, W, C) at the model's size to float32 (B, K), compiled.
    """

    config: Config
    class_names: tuple[str, ...]
    model: VisionTransformer
    params: Any
    step: int
    probabilities: Callable[[Array], Array]

    def __repr__(self) -> str:
        number = sum(leaf.size for leaf in jax.tree.leaves(self.params))
        return (
            f"SavedRun({self.config.out!r}: {number:,} parameters of step {self.step}, "
            f"{len(self.class_names)} classes, {self.model.img_size} pixels)"
        )


def load_run(
    path: str | Path, warn: Callable[[str], None] = lambda line: print(line, file=sys.stderr)
) -> SavedRun:
    """Reads a run directory; it needs no optimiser, writes nothing, and may still be training.

    Args:
      path: of the run.
      warn: told in one line of a checkpoint that is damaged.

    Raises:
      UserError: it is not a run directory, or holds no whole checkpoint.
    """
    path = Path(path)
    try:
        config = config_from_dict(Config, json.loads((path / "config.json").read_text()))
        class_names = tuple(json.loads((path / "split.json").read_text())["class_names"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a run directory ({error}): train one first") from error
    model = make_model(config.model, len(class_names))
    monitor = None if config.select == "last" else MONITOR
    step, weights = read_weights(path / "checkpoints", monitor, warn)
    params = jax.tree.map(jnp.asarray, weights.get("params", weights))

    @jit
    def probabilities(images: Array) -> Array:
        batch = normalize(images, config.data.mean, config.data.std)
        return jax.nn.softmax(model.apply({"params": params}, batch, deterministic=True))

    return SavedRun(config, class_names, model, params, step, probabilities)


def classify(
    run: SavedRun, photos: Photo | Sequence[Photo], upright: bool | None = None
) -> dict[str, float] | list[dict[str, float]]:
    """The probability of each class, the most probable first.

    Args:
      run: of load_run.
      photos: one photo or a list of them: the path of an image file, a PIL image, or a uint8 array
        (H, W, 3) or (H, W), resized as in training.
      upright: whether photos are turned by their EXIF orientation. None: they are, unless the run
        was trained on a folder with --data.exif False.

    Returns:
      A dict for one photo, a list of dicts for a list.

    Raises:
      UserError: one cannot be read as an image.
    """
    if isinstance(photos, (str, Path, Image.Image, np.ndarray)):
        return classify(run, [photos], upright)[0]
    if upright is None:
        upright = run.config.data.name != "folder" or run.config.data.exif is not False
    images = [_pixels(run, photo, upright) for photo in photos]
    found = []
    for image in images:
        probabilities = np.asarray(run.probabilities(image[None])[0])
        order = np.argsort(-probabilities, kind="stable")
        found.append({run.class_names[k]: float(probabilities[k]) for k in order})
    return found


def _pixels(run: SavedRun, photo: Photo, upright: bool) -> np.ndarray:
    geometry = scoring_geometry(run.config.data, run.model.img_size)
    channels = run.model.in_channels
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim not in (2, 3) or photo.shape[2:] not in ((), (3,)):
            raise UserError(
                f"an array of {photo.dtype} {photo.shape} is no photo: give uint8 (H, W, 3) or "
                "(H, W), of values from 0 to 255"
            )
        photo = Image.fromarray(photo)
    if isinstance(photo, Image.Image):
        return prepare_image(photo, geometry, channels, upright)
    try:
        data = Path(photo).read_bytes()
    except OSError as error:
        raise UserError(f"{photo} cannot be read ({error.strerror})") from error
    return decode_image(data, geometry, str(photo), channels, upright)
