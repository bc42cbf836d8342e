"""Classification metrics from counts that are summed on the device.

`Counts` of disjoint sets of examples add up to the counts of their union, so batches, devices and
processes need nothing but a sum, and the metrics at the end are exact for the whole split.
"""

import math
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
    """What a classifier says of each example.

    Attributes:
      label: the most probable class.
      confidence: its probability.
      label_probability: the probability of the example's own class.
    """

    label: Int[Array, "B"]
    confidence: Float[Array, "B"]
    label_probability: Float[Array, "B"]


def predict(logits: Float[Array, "B K"], labels: Int[Array, "B"]) -> Prediction:
    """argmax_k and max_k of p = softmax(logits), and p[labels]."""
    probabilities = jax.nn.softmax(logits)
    return Prediction(
        label=jnp.argmax(logits, axis=-1).astype(jnp.int32),
        confidence=probabilities.max(axis=-1),
        label_probability=jnp.take_along_axis(probabilities, labels[:, None], axis=-1)[:, 0],
    )


def count(logits: Float[Array, "B K"], labels: Int[Array, "B"], mask: Bool[Array, "B"]) -> Counts:
    """The counts of one batch.

    Args:
      logits: float32.
      labels: class indices in [0, K).
      mask: False for padding, which counts nowhere.
    """
    predicted, confidence, _ = predict(logits, labels)
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

    accuracy = correct / n, with its 95 % interval (see wilson). For each class, precision =
    TP / (TP + FP), recall = TP / (TP + FN), F1 = 2 TP / (2 TP + FP + FN), each 0 where its
    denominator is 0; the macro figures are their means over the classes that appear among the
    labels or the predictions. loss is the mean unsmoothed cross-entropy; mean_confidence the mean
    of max_k softmax;
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

    low, high = wilson(hits.sum(), total)
    return {
        "accuracy": float(hits.sum() / total),
        "accuracy_low": low,
        "accuracy_high": high,
        "precision_macro": macro(hits, predicted),
        "recall_macro": macro(hits, actual),
        "f1_macro": macro(2 * hits, actual + predicted),
        "loss": float(counts.loss / total),
        "ece": float(np.abs(counts.bin_correct - counts.bin_confidence).sum() / total),
        "mean_confidence": float(counts.bin_confidence.sum() / total),
    }


def wilson(hits: float, total: float, z: float = 1.959964) -> tuple[float, float]:
    """The interval that holds a share with 95 % confidence, given `hits` of `total`.

    (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n), with p = hits / total and
    n = total.

    Args:
      hits, total: 0 <= hits <= total, total at least 1.
      z: the quantile of the normal distribution, 1.96 for 95 %.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22.

    Example:
      >>> [f"{x:.3f}" for x in wilson(8, 10)]
      ['0.490', '0.943']
    """
    p = hits / total
    centre = p + z**2 / (2 * total)
    spread = z * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    scale = 1 + z**2 / total
    return float(max(0.0, (centre - spread) / scale)), float(min(1.0, (centre + spread) / scale))
