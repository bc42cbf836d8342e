"""What both methods that make images have in common: real images, samples, and their measures."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvit.augment.pipeline import make_augment
from jaxvit.config import Config
from jaxvit.data.decoded import Dataset, Split
from jaxvit.errors import UserError
from jaxvit.objectives.generation import COLLAPSED, diversity, kernel_distance, pixel_features
from jaxvit.shapes import Array, Float, Int
from jaxvit.training.task import Evaluation, Outputs

GRID = 64  # samples of a picture
Real = Callable[[jax.Array, dict], Array]


def make_real(config: Config, size: int) -> Real:
    """(key, batch) -> images of the training split, augmented, float32 in [-1, 1]."""
    augment = make_augment(config.augment, config.data.mean, config.data.std, size)

    def real(key: jax.Array, batch: dict) -> Float[Array, "B H W C"]:
        untouched = jnp.zeros((len(batch["label"]), 1))  # targets, which nothing here mixes
        return augment(key, batch["image"], untouched)[0]

    return real


def row_keys(key: jax.Array, index: Int[Array, "B"]) -> jax.Array:
    """A key for each example: fold_in(key, its index)."""
    return jax.vmap(lambda row: jax.random.fold_in(key, row))(index)


def check_enough(data: Dataset) -> None:
    """Raises UserError where a split is too small to be compared with samples."""
    for name in ("val", "test"):
        if len(getattr(data, name)) < 2:
            raise UserError(
                f"the {name} split has {len(getattr(data, name))} image, and samples are compared "
                f"with at least 2: add images, or give --data.dir a {name}/ folder"
            )


def make_probe(conditional: bool) -> Callable[..., dict[str, float]]:
    """(outputs_of, split) -> measures of the samples of a split beside its images.

    `kernel_distance` of the means of squares of pixels, and `diversity`: the mean distance of two
    samples of a class, over that of two images.

    Args:
      conditional: whether samples are made for a class; otherwise all are of one.
    """

    def probe(outputs_of: Callable[[Any], Outputs], split: Split) -> dict[str, float]:
        samples = pixel_features(np.asarray(outputs_of(split)["samples"]))
        images = pixel_features(split.images(np.arange(len(split))))
        labels = split.labels if conditional else np.zeros(len(split), int)
        real = diversity(images, labels)
        return {
            "kernel_distance": kernel_distance(images, samples),
            "diversity": diversity(samples, labels) / real if real else 1.0,
        }

    return probe


def sketch(evaluation: Evaluation) -> dict[str, np.ndarray]:
    """The first samples of a validation, which are of the same noise each time."""
    return {"samples": np.asarray(evaluation.outputs["samples"])[:GRID]}


def alarm(metrics: Mapping[str, float]) -> str | None:
    """A line where the samples of a validation are nearly one image."""
    found = metrics["diversity"]
    if found >= COLLAPSED:
        return None
    return (
        f"warning: the samples have collapsed: two of them differ by {found:.0%} of what two "
        "images differ by; let it train on, lower --optim.lr, or choose another --seed"
    )
