"""Classification metrics from counts that are summed on the device.

`Counts` of disjoint sets of examples add up to the counts of their union, so batches, devices and
processes need nothing but a sum, and the metrics at the end are exact for the whole split.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvit.shapes import Array, Bool, Float, Int

NUM_BINS = 15  # of confidence, for the calibration error


class Counts(NamedTuple):
    """Sums over the examples seen.

    Attributes:
      confusion: confusion[i, j], how many examples of class i were predicted as j.
      loss: the sum of the unsmoothed cross-entropies, in nats.
      bin_count: examples whose confidence lies in [m / 15, (m + 1) / 15); 1 is in the last bin.
      bin_confidence: the sum of their confidences.
      bin_correct: how many of them were predicted right.
    """

    confusion: Int[Array, "K K"]
    loss: Float[Array, ""]
    bin_count: Int[Array, "M"]
    bin_confidence: Float[Array, "M"]
    bin_correct: Int[Array, "M"]


class Prediction(NamedTuple):
    """The most probable class of each example and its probability."""

    label: Int[Array, "B"]
    confidence: Float[Array, "B"]


def predict(logits: Float[Array, "B K"]) -> Prediction:
    """argmax_k and max_k of softmax(logits)."""
    return Prediction(
        label=jnp.argmax(logits, axis=-1).astype(jnp.int32),
        confidence=jax.nn.softmax(logits).max(axis=-1),
    )


def zero_counts(num_classes: int) -> Counts:
    """The counts of no examples."""
    return Counts(
        confusion=jnp.zeros((num_classes, num_classes), jnp.int32),
        loss=jnp.zeros(()),
        bin_count=jnp.zeros(NUM_BINS, jnp.int32),
        bin_confidence=jnp.zeros(NUM_BINS),
        bin_correct=jnp.zeros(NUM_BINS, jnp.int32),
    )


def count(logits: Float[Array, "B K"], labels: Int[Array, "B"], mask: Bool[Array, "B"]) -> Counts:
    """The counts of one batch.

    Args:
      logits: float32.
      labels: class indices in [0, K).
      mask: False for padding, which counts nowhere.
    """
    predicted, confidence = predict(logits)
    num_classes = logits.shape[-1]
    losses = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=-1)[:, 0]
    edges = jnp.arange(1, NUM_BINS) / NUM_BINS
    bins = jnp.searchsorted(edges, confidence, side="right")
    seen = mask.astype(jnp.int32)

    def in_bins(values: Array) -> Array:
        return jnp.zeros(NUM_BINS, values.dtype).at[bins].add(values)

    return Counts(
        confusion=jnp.zeros((num_classes, num_classes), jnp.int32).at[labels, predicted].add(seen),
        loss=jnp.where(mask, losses, 0).sum(),
        bin_count=in_bins(seen),
        bin_confidence=in_bins(jnp.where(mask, confidence, 0)),
        bin_correct=in_bins(seen * (predicted == labels)),
    )


def compute_metrics(counts: Counts) -> dict[str, float]:
    """The metrics of all examples counted, in float64 on the host.

    accuracy = correct / n. For each class, precision = TP / (TP + FP), recall = TP / (TP + FN),
    F1 = 2 TP / (2 TP + FP + FN), each 0 where its denominator is 0; the macro figures are their
    means over the classes that appear among the labels or the predictions. loss is the mean
    unsmoothed cross-entropy; mean_confidence the mean of max_k softmax;
    ece = sum_m (n_m / n) |accuracy_m - confidence_m| over 15 equal bins of confidence.

    Raises:
      ValueError: nothing was counted.

    Source: torchmetrics' and scikit-learn's macro averages; Guo et al. 2017, arXiv:1706.04599.
    """
    counts = Counts(*(np.asarray(x, np.float64) for x in counts))
    total = counts.bin_count.sum()
    if total == 0:
        raise ValueError("no example was counted: metrics of an empty split do not exist")
    hits = np.diag(counts.confusion)
    actual = counts.confusion.sum(axis=1)
    predicted = counts.confusion.sum(axis=0)
    present = actual + predicted > 0

    def macro(numerator: np.ndarray, denominator: np.ndarray) -> float:
        scores = np.divide(
            numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0
        )
        return float(scores[present].mean())

    return {
        "accuracy": float(hits.sum() / total),
        "precision_macro": macro(hits, predicted),
        "recall_macro": macro(hits, actual),
        "f1_macro": macro(2 * hits, actual + predicted),
        "loss": float(counts.loss / total),
        "ece": float(np.abs(counts.bin_correct - counts.bin_confidence).sum() / total),
        "mean_confidence": float(counts.bin_confidence.sum() / total),
    }


def prefixed(split: str, metrics: dict[str, float]) -> dict[str, float]:
    """accuracy -> split/accuracy, and so on."""
    return {f"{split}/{name}": value for name, value in metrics.items()}
