"""Classification metrics from counts that are summed on the device.

`Counts` of disjoint sets of examples add up to the counts of their union. The counts of batches,
devices and processes are therefore summed, and the metrics are exact for the whole split.
"""

import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvit.shapes import Array, Bool, Float, Int

# What makes a classifier the best, as (metric, whether it rises); the second breaks ties.
MONITOR = (("accuracy", True), ("loss", False))
# The metrics by which classifiers may be compared, and whether more is better.
RISES = {
    "accuracy": True, "precision_macro": True, "recall_macro": True, "f1_macro": True,
    "loss": False, "ece": False,
}  # fmt: skip
NUM_BINS = 15  # bins of confidence for the calibration error, M


class Counts(NamedTuple):
    """Sums over examples; K classes and M = 15 bins of confidence.

    Attributes:
      confusion: confusion[i, j], number of examples of class i that were predicted as class j.
      loss: sum of the cross-entropies without label smoothing, in nats.
      bin_count: number of examples with confidence in [m / M, (m + 1) / M); the last bin includes
        confidence 1.
      bin_confidence: sum of the confidences of these examples.
      bin_correct: number of these examples whose predicted class is correct.
    """

    confusion: Int[Array, "K K"]
    loss: Float[Array, ""]
    bin_count: Int[Array, "M"]
    bin_confidence: Float[Array, "M"]
    bin_correct: Int[Array, "M"]


class Prediction(NamedTuple):
    """The prediction for each example.

    Attributes:
      label: the most probable class, int32 in [0, K); the lowest index among equal logits.
      confidence: probability of that class, in [1 / K, 1].
      label_probability: probability of the example's true class, in [0, 1].
    """

    label: Int[Array, "B"]
    confidence: Float[Array, "B"]
    label_probability: Float[Array, "B"]


def predict(logits: Float[Array, "B K"], labels: Int[Array, "B"]) -> Prediction:
    """argmax_k p[k], max_k p[k] and p[labels], with p = softmax(logits).

    Args:
      logits: unnormalised log-probabilities.
      labels: class indices in [0, K).
    """
    probabilities = jax.nn.softmax(logits)
    return Prediction(
        label=jnp.argmax(logits, axis=-1).astype(jnp.int32),
        confidence=probabilities.max(axis=-1),
        label_probability=jnp.take_along_axis(probabilities, labels[:, None], axis=-1)[:, 0],
    )


def count(logits: Float[Array, "B K"], labels: Int[Array, "B"], mask: Bool[Array, "B"]) -> Counts:
    """The counts of one batch.

    Args:
      logits: unnormalised log-probabilities, float32.
      labels: class indices in [0, K); also valid indices for padding.
      mask: True for an example, False for padding, which is not counted.
    """
    chex.assert_rank((logits, labels, mask), (2, 1, 1))
    chex.assert_equal_shape_prefix((logits, labels, mask), 1)
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
    """The metrics of all counted examples, computed in float64 on the host.

    Args:
      counts: sums over n examples.

    Returns:
      accuracy: correct / n; accuracy_low and accuracy_high are its 95 % interval (see wilson).
      precision_macro, recall_macro, f1_macro: for each class precision = TP / (TP + FP),
        recall = TP / (TP + FN) and F1 = 2 TP / (2 TP + FP + FN), each 0 where its denominator is 0.
        The macro averages are means over the classes that appear in the labels or predictions.
      loss: mean cross-entropy without label smoothing, in nats.
      ece: expected calibration error, sum_m (n_m / n) |accuracy_m - confidence_m| over 15 equal
        bins of confidence.
      mean_confidence: mean of max_k softmax(logits)[k].
      All are in [0, 1] except loss.

    Raises:
      ValueError: no example was counted.

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
    """The Wilson score interval of a proportion, by default with 95 % confidence.

    (p + z^2 / (2 n) -+ z sqrt(p (1 - p) / n + z^2 / (4 n^2))) / (1 + z^2 / n), with p = hits / n
    and n = total.

    Args:
      hits: number of successes, 0 <= hits <= total.
      total: number of trials, at least 1.
      z: quantile of the standard normal distribution, 1.96 for 95 %.

    Returns:
      The lower and the upper limit, in [0, 1].

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
