"""A classifier's scores on labelled images, by the same functions as in training."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvit.data.cache import Track, no_tracking
from jaxvit.errors import UnreadableImage, UserError
from jaxvit.interop.labelled import Labelled
from jaxvit.interop.predictions import (
    Batch,
    Classifier,
    batch_size_for,
    compute_ahead,
    in_batches,
    leave_out,
)
from jaxvit.objectives.confusions import surest_errors
from jaxvit.objectives.metrics import Counts, Prediction, compute_metrics, count, predict
from jaxvit.shapes import Array


class Evaluated(NamedTuple):
    """Scores of the n images that could be read, of K classes.

    Attributes:
      metrics: see jaxvit.objectives.metrics.compute_metrics.
      counts: sums over the images.
      names: of the n images.
      labels: int32 (n,), the true classes.
      predicted: NumPy arrays, see jaxvit.objectives.metrics.predict.
      unreadable: a line for each image that was left out.
    """

    metrics: dict[str, float]
    counts: Counts
    names: tuple[str, ...]
    labels: np.ndarray
    predicted: Prediction
    unreadable: tuple[str, ...]


def evaluate_images(
    classifier: Classifier,
    labelled: Labelled,
    batch_size: int = 32,
    on_error: str = "skip",
    warn: Callable[[str], None] = print,
    track: Track = no_tracking,
    what: str = "images",
) -> Evaluated:
    """Scores every image that can be read exactly once.

    Args:
      classifier: of make_classifier.
      labelled: the images.
      batch_size: images that are computed together.
      on_error: "skip" or "stop", at an image that cannot be read.
      warn: told in one line of an image that is left out.
      track: shows progress.
      what: is said of it.

    Raises:
      UserError: an image cannot be read and on_error is "stop", or none can be read.
    """
    number = len(labelled.labels)
    size = batch_size_for(number, batch_size)

    def compute(batch: Batch) -> tuple[Counts, Prediction]:
        labels, mask = np.zeros(size, np.int32), np.arange(size) < len(batch.rows)
        labels[mask] = labelled.labels[batch.rows]
        return _score(classifier.logits(batch.pixels), labels, mask)

    rows, parts, totals, unreadable = [], [], None, []
    images = track(labelled.images(), number, what)
    for done in compute_ahead(in_batches(images, size), compute):
        if isinstance(done, UnreadableImage):
            leave_out(done, on_error, warn)
            unreadable.append(str(done))
            continue
        batch, (counts, predicted) = done
        rows.append(batch.rows)
        parts.append(Prediction(*(each[: len(batch.rows)] for each in predicted)))
        totals = counts if totals is None else jax.tree.map(np.add, totals, counts)
    if totals is None:
        raise UserError(f"none of {number} image(s) can be read: the lines above say why")
    order = np.concatenate(rows)
    return Evaluated(
        compute_metrics(totals),
        totals,
        tuple(labelled.names[row] for row in order),
        labelled.labels[order],
        Prediction(*map(np.concatenate, zip(*parts, strict=True))),
        tuple(unreadable),
    )


@jax.jit
def _score(logits: Array, labels: Array, mask: Array) -> tuple[Counts, Prediction]:
    logits = logits.astype(jnp.float32)
    return count(logits, labels, mask), predict(logits, labels)


class Error(NamedTuple):
    """An image of another class than was predicted.

    Attributes:
      name: of the image.
      label, predicted: class indices.
      confidence: probability of the predicted class.
      label_probability: of the true one.
    """

    name: str
    label: int
    predicted: int
    confidence: float
    label_probability: float


def worst_errors(evaluated: Evaluated, number: int) -> list[Error]:
    """The wrong predictions of the highest confidence, the highest first."""
    found = evaluated.predicted
    wrong = surest_errors(evaluated.labels, found.label, found.confidence, number)
    return [
        Error(
            evaluated.names[row],
            int(evaluated.labels[row]),
            int(found.label[row]),
            float(found.confidence[row]),
            float(found.label_probability[row]),
        )
        for row in wrong
    ]


def per_class(confusion: np.ndarray, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """name -> {"n": images, "accuracy": share that is right}, for classes with images."""
    totals, hits = confusion.sum(axis=1), np.diag(confusion)
    return {
        labels[k]: {"n": int(totals[k]), "accuracy": float(hits[k] / totals[k])}
        for k in np.flatnonzero(totals)
    }
