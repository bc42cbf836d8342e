"""Scoring a split: every example exactly once, whatever the batch size."""

from typing import NamedTuple

import jax
import numpy as np

from jaxvit.data.datasets import Split
from jaxvit.metrics import Counts, compute_metrics, zero_counts
from jaxvit.parallel import Devices
from jaxvit.state import Params
from jaxvit.steps import EvalStep


class Evaluation(NamedTuple):
    """A scored split.

    Attributes:
      metrics: see jaxvit.metrics.compute_metrics.
      counts: what they were computed from, on the host.
      labels: the predicted class of each example, in the order of the split.
      confidences: the probability of that class.
    """

    metrics: dict[str, float]
    counts: Counts
    labels: np.ndarray
    confidences: np.ndarray


def evaluate(
    eval_step: EvalStep,
    params: Params,
    split: Split,
    *,
    num_classes: int,
    batch_size: int,
    devices: Devices,
) -> Evaluation:
    """Scores params on a split; with many processes each reads its rows, and all get the scores.

    The last batch is filled up to batch_size with the split's first example, under a mask that
    counts it nowhere, so that one compiled step serves every batch.

    Args:
      eval_step: compiled; see jaxvit.steps.make_eval_step.
      params: on the devices.
      split: at least one example.
      num_classes: K.
      batch_size: a multiple of the number of devices.
      devices: where it runs.
    """
    counts = devices.replicate(zero_counts(num_classes))
    own = devices.own_rows(batch_size)
    predictions = []
    for start in range(0, len(split), batch_size):
        indices = np.arange(start, start + batch_size)[own]
        mask = indices < len(split)
        batch = split.take(np.where(mask, indices, 0)) | {"mask": mask}
        counts, prediction = eval_step(params, counts, devices.place_batch(batch))
        predictions.append(prediction)
    labels, confidences = (
        np.concatenate(parts)[: len(split)]
        for parts in zip(*jax.device_get(predictions), strict=True)
    )
    counts = jax.device_get(counts)
    return Evaluation(compute_metrics(counts), counts, labels, confidences)
