"""Scoring a split: every example exactly once, whatever the batch size; statistics for it."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvit.runtime.devices import Devices
from jaxvit.shapes import Array
from jaxvit.training.steps import make_score_step, step_keys
from jaxvit.training.task import Batch, Counts, Evaluation, Extra, Outputs, Task, Weights

Score = Callable[[Weights, Any], Evaluation]
Refresh = Callable[[Weights, Iterable[Batch]], Weights]


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
    compare = step
    if task.compare is not None:
        compare = devices.compile_score(make_score_step(task._replace(score=task.compare), seed))
    own = devices.own_rows(batch_size)

    def batches(split):
        for start in range(0, len(split), batch_size):
            rows = np.arange(start, start + batch_size)[own]
            mask = rows < len(split)
            batch = split.take(np.where(mask, rows, 0), with_index=task.uses_index)
            yield devices.place_batch(batch | {"mask": mask})

    def scored(step, weights: Weights, split) -> tuple[Any, Any]:
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
        counts, outputs = scored(step, weights, split)
        metrics = task.metrics(counts)
        if task.probe is not None:

            def outputs_of(other) -> Outputs:
                return outputs if other is split else scored(compare, weights, other)[1]

            metrics |= task.probe(outputs_of, split)
        return Evaluation(metrics, counts, outputs)

    return score


def zero_counts(task: Task, weights: Weights, batch: dict) -> Any:
    """The counts of no examples."""
    counts, _ = jax.eval_shape(task.score, weights, jax.random.key(0), batch)
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), counts)


def make_refresh(task: Task, devices: Devices, seed: int) -> Refresh:
    """(weights on the devices, batches) -> weights with statistics that are those of the batches.

    Each statistic is the mean over batches of what the batch gives, with the draws of the first
    steps of training. A task without statistics keeps its weights.

    Args:
      task: whose weights.
      devices: where.
      seed: of the draws.

    Source: Izmailov et al. 2018, arXiv:1803.05407. Torch twin: torch.optim.swa_utils.update_bn.
    """
    if task.statistics is None:
        return lambda weights, batches: weights

    def statistics(weights: Weights, batch: Batch, number: Array) -> Extra:
        key, _ = step_keys(seed, number)
        return task.statistics(weights, task.prepare(key, batch))

    def add(weights: Weights, counts: Counts, batch: Batch) -> tuple[Counts, Outputs]:
        number, sums = counts
        return (number + 1, jax.tree.map(jnp.add, sums, statistics(weights, batch, number))), {}

    step = devices.compile_score(add)

    def refresh(weights: Weights, batches: Iterable[Batch]) -> Weights:
        counts = None
        for batch in batches:
            if counts is None:
                shapes = jax.eval_shape(statistics, weights, batch, jnp.int32(0))
                zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
                counts = devices.replicate((jnp.int32(0), zeros))
            counts, _ = step(weights, counts, batch)
        number, sums = jax.device_get(counts)
        found = jax.tree.map(lambda x: (x / number).astype(x.dtype), sums)
        where = jax.tree.map(lambda x: x.sharding, {name: weights[name] for name in found})
        return {**weights, **jax.device_put(found, where)}

    return refresh
