"""Scoring a split: every example exactly once, whatever the batch size."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvit.runtime.devices import Devices
from jaxvit.training.steps import make_score_step
from jaxvit.training.task import Evaluation, Task, Weights

Score = Callable[[Weights, Any], Evaluation]


def make_score(task: Task, devices: Devices, batch_size: int, seed: int) -> Score:
    """(weights on the devices, split) -> Evaluation, with one compiled step for every batch.

    The last batch is filled up to batch_size with the split's first example, under a mask that
    counts it nowhere. With many processes each reads its rows, and all get the scores.

    Args:
      task: what is scored, and how.
      devices: where.
      batch_size: a multiple of the number of devices.
      seed: of what scoring draws; the same at every call.
    """
    step = devices.compile_score(make_score_step(task, seed))
    own = devices.own_rows(batch_size)

    def batches(split):
        for start in range(0, len(split), batch_size):
            rows = np.arange(start, start + batch_size)[own]
            mask = rows < len(split)
            batch = split.take(np.where(mask, rows, 0), with_index=task.uses_index)
            yield devices.place_batch(batch | {"mask": mask})

    def scored(weights: Weights, split) -> tuple[Any, Any]:
        counts, outputs = None, []
        for batch in batches(split):
            if counts is None:
                counts = devices.replicate(zero_counts(task, weights, batch))
            counts, found = step(weights, counts, batch)
            outputs.append(found)
        outputs = jax.tree.map(
            lambda *parts: np.concatenate(parts)[: len(split)], *jax.device_get(outputs)
        )
        return jax.device_get(counts), outputs

    def score(weights: Weights, split) -> Evaluation:
        counts, outputs = scored(weights, split)
        metrics = task.metrics(counts)
        if task.probe is not None:
            metrics |= task.probe(lambda other: scored(weights, other)[1], split)
        return Evaluation(metrics, counts, outputs)

    return score


def zero_counts(task: Task, weights: Weights, batch: dict) -> Any:
    """The counts of no examples."""
    counts, _ = jax.eval_shape(task.score, weights, jax.random.key(0), batch)
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), counts)
