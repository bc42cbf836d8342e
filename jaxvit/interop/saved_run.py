"""A run of our own, to be used: its model, its best weights, and predictions for photos."""

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict
from PIL import Image

from jaxvit.config import Config, ModelConfig, config_from_dict
from jaxvit.data.datasets import scoring_geometry
from jaxvit.data.images import prepare_image
from jaxvit.data.photos import read_photo
from jaxvit.data.preprocessing import Preprocessing
from jaxvit.errors import UserError
from jaxvit.interop.predictions import (
    Classifier,
    Usable,
    batch_size_for,
    make_classifier,
    predict_images,
    top,
)
from jaxvit.models.configured import make_model
from jaxvit.models.instance_classifier import backbone_of
from jaxvit.models.variables import count_params, init_variables, joined
from jaxvit.objectives.monitors import monitor_of
from jaxvit.runs.saved_items import read_weights
from jaxvit.shapes import Array

BATCH_SIZE = 32  # photos that are classified together, at most
Photo = str | Path | Image.Image | np.ndarray


class SavedRun(NamedTuple):
    """What training left behind.

    Attributes:
      config: of the run.
      class_names: K names; logits are in their order. () for a model without a head.
      model: called as model.apply(variables_of(params), images, deterministic=True), with
        jaxvit.models.variables.
      params: the weights of the best state, or of the last where config.select says so (their
        running average, where the run kept one): parameters, with batch statistics where the model
        has any.
      step: of that state.
    """

    config: Config
    class_names: tuple[str, ...]
    model: nn.Module
    params: Any
    step: int

    @property
    def model_config(self) -> ModelConfig:
        """The configuration of the model."""
        return self.config.model

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def preprocessing(self) -> Preprocessing:
        """Between an image file and the model's input."""
        data = self.config.data
        geometry = scoring_geometry(data, self.model.img_size)
        return Preprocessing(geometry, tuple(data.mean), tuple(data.std))

    @property
    def upright(self) -> bool:
        """Whether photos are rotated by their EXIF orientation before they are used.

        They are, unless the run was trained on a folder with --data.exif False.
        """
        return self.config.data.name != "folder" or self.config.data.exif is not False

    def probabilities(self, images: np.ndarray) -> Array:
        """uint8 (B, H, W, C) at the model's size to float32 (B, K).

        Not under jax.jit: see Classifier.logits.
        """
        return jax.nn.softmax(make_classifier(self).logits(images))

    def __repr__(self) -> str:
        number = count_params(self.params)
        return (
            f"SavedRun({self.config.out!r}: {number:,} parameters of step {self.step}, "
            f"{len(self.class_names)} classes, {self.model.img_size} pixels)"
        )


def read_config(path: Path) -> Config:
    """The configuration of a run.

    Raises:
      UserError: it is no run directory, or another version of jaxvit wrote an option into it.
    """
    try:
        return config_from_dict(Config, json.loads((path / "config.json").read_text()))
    except TypeError as error:
        raise UserError(
            f"{path}/config.json was written by another version of jaxvit ({error}): use that "
            "version, or train again"
        ) from error
    except PermissionError as error:
        raise UserError(f"{path}/config.json cannot be opened: make it readable") from error
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is not a run directory ({error}): train one first") from error


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
    config = read_config(path)
    if config.makes_images:
        raise UserError(
            f"{path} was trained with --method {config.method}: it makes images, and is no model "
            f"of them: python -m jaxvit sample {path} --out DIR makes some"
        )
    class_names = read_class_names(path) if config.has_head else ()
    model = make_model(config.model, len(class_names))
    step, weights = selected_weights(path, config, warn)
    if "extra" in weights:  # no running average was kept
        params = weights["params"] if config.has_head else backbone_of(weights["params"])
        weights = joined(params, weights["extra"])
    params = jax.tree.map(jnp.asarray, weights)
    check_shapes(path, model, params)
    return SavedRun(config, class_names, model, params, step)


def selected_weights(path: Path, config: Config, warn: Callable[[str], None]) -> tuple[int, Any]:
    """The step and the weights of the best state of a run, or of its last, as config.select says.

    See jaxvit.runs.saved_items.ranked_weights.
    """
    own = monitor_of(config.method, config.monitor, config.data.labels)
    return read_weights(path / "checkpoints", None if config.select == "last" else own, warn)


def read_class_names(path: Path) -> tuple[str, ...]:
    """The classes of a run, from its split.json.

    Raises:
      UserError: it cannot be read, or names no classes.
    """
    file = path / "split.json"
    try:
        names = json.loads(file.read_text())["class_names"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("its class_names are no list of names")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} cannot be read ({error}): restore it, or train again") from error
    return tuple(names)


def check_shapes(path: Path, model: nn.Module, params: Any) -> None:
    """Raises UserError where the model of config.json and split.json is not that of the weights."""
    variables = jax.eval_shape(partial(init_variables, model), jax.random.key(0))
    wanted = flatten_dict(joined(*variables), sep="/")
    found = flatten_dict(params, sep="/")
    for name in sorted(wanted.keys() | found.keys()):
        shapes = [tree[name].shape if name in tree else "none" for tree in (wanted, found)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"{path}: config.json and split.json describe a model whose {name} has the shape "
                f"{shapes[0]}, and the checkpoint's has {shapes[1]}: restore them, or train again"
            )


def classify(
    run: Usable, photos: Photo | Sequence[Photo], upright: bool | None = None
) -> dict[str, float] | list[dict[str, float]]:
    """The probability of each class, the most probable first.

    Args:
      run: of load_run, or of jaxvit.interop.load.load_pretrained.
      photos: one photo or a list of them: the path of an image file, a PIL image, or a uint8 array
        (H, W, 3) or (H, W), resized as in training.
      upright: whether photos are turned by their EXIF orientation. None: they are, unless the run
        was trained on a folder with --data.exif False.

    Returns:
      A dict for one photo, a list of dicts for a list. Classes without names have their index for a
      name.

    Raises:
      UserError: one cannot be read as an image, or the weights have no head.
    """
    if isinstance(photos, (str, Path, Image.Image, np.ndarray)):
        return classify(run, [photos], upright)[0]
    classifier = make_classifier(run, upright)
    size = batch_size_for(len(photos), BATCH_SIZE)
    images = (_pixels(classifier, photo) for photo in photos)
    found = predict_images(classifier, images, size)
    return [dict(top(classifier, row, len(row))) for _, row in found]


def _pixels(classifier: Classifier, photo: Photo) -> np.ndarray:
    geometry, channels, upright = classifier.geometry, classifier.channels, classifier.upright
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim not in (2, 3) or photo.shape[2:] not in ((), (3,)):
            raise UserError(
                f"an array of {photo.dtype} {photo.shape} is no photo: give uint8 (H, W, 3) or "
                "(H, W), of values from 0 to 255"
            )
        photo = Image.fromarray(photo)
    if isinstance(photo, Image.Image):
        return prepare_image(photo, geometry, channels, upright)
    return read_photo(Path(photo), geometry, channels, upright)
