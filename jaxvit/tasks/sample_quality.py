"""Generated images measured beside real ones: on features of a network, and by a classifier."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from PIL import Image

from jaxvit.augment.normalize import normalize
from jaxvit.data.cache import Track, no_tracking
from jaxvit.data.images import prepare_image
from jaxvit.interop.predictions import Usable, in_batches, make_classifier
from jaxvit.models.variables import variables_of
from jaxvit.objectives.generation import (
    Interval,
    frechet_distance,
    kernel_distance,
    precision_recall,
    with_interval,
)
from jaxvit.objectives.metrics import wilson
from jaxvit.runtime.compiler import compiler_options

BATCH = 64  # images whose features are computed together


class Quality(NamedTuple):
    """Of images beside those of the training split.

    Attributes:
      number: of images.
      frechet, kernel: distances of their features.
      precision: share of them that lie among training images.
      recall: share of training images that lie among them.
      accuracy: of a classifier, that it gives an image its class; None without one, or without
        classes.
    """

    number: int
    frechet: Interval
    kernel: Interval
    precision: Interval
    recall: Interval
    accuracy: Interval | None = None


def at_size_of(images: np.ndarray, source: Usable) -> Iterator[np.ndarray]:
    """uint8 images (N, H, W, C) as a network takes them, one by one; see its preprocessing."""
    geometry, channels = source.preprocessing.geometry, source.model.in_channels
    for image in images:
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        yield prepare_image(picture, geometry, channels, False)


def features_of(
    source: Usable, images: np.ndarray, track: Track = no_tracking, what: str = "images"
) -> np.ndarray:
    """What the head of a network sees, float32 (N, F), of uint8 images (N, H, W, C)."""
    mean, std = source.preprocessing.mean, source.preprocessing.std
    weights = jax.device_put(variables_of(source.params))

    @partial(jax.jit, compiler_options=compiler_options(source.model_config.convolves))
    def features(weights, pixels):
        return source.model.apply(weights, normalize(pixels, mean, std), True, method="features")

    resized = track(at_size_of(images, source), len(images), what)
    return np.concatenate(
        [
            np.asarray(features(weights, batch.pixels))[: len(batch.rows)]
            for batch in in_batches(resized, BATCH)
        ]
    )


def measure(features: np.ndarray, real: np.ndarray) -> Quality:
    """Distances and shares of features beside those of training images.

    Intervals of shares are Wilson's, of the images that are counted, beside the others as they are.

    Args:
      features: (N, F), of generated images, or of test images for reference.
      real: (M, F), of training images.
    """
    precision, recall = precision_recall(real, features)
    return Quality(
        len(features),
        with_interval(frechet_distance, features, real),
        with_interval(kernel_distance, features, real),
        _share(precision * len(features), len(features)),
        _share(recall * len(real), len(real)),
    )


def _share(hits: float, number: int) -> Interval:
    return Interval(hits / number, *wilson(hits, number))


def accuracy_of(source: Usable, images: np.ndarray, labels: np.ndarray) -> Interval:
    """The share of images to which a classifier gives the class that they were made for.

    Args:
      source: with the classes of the labels, in their order.
      images: uint8 (N, H, W, C).
      labels: (N,).

    Returns:
      With the interval of jaxvit.objectives.metrics.wilson.
    """
    classifier = make_classifier(source)
    predicted = np.concatenate(
        [
            np.asarray(classifier.logits(batch.pixels))[: len(batch.rows)].argmax(axis=1)
            for batch in in_batches(at_size_of(images, source), BATCH)
        ]
    )
    return _share(float((predicted == labels).sum()), len(labels))
