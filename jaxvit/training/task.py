"""What a method is: a Task, a NamedTuple of pure functions without an idea of devices or files.

The trainer (jaxvit.training), the run directory (jaxvit.runs) and the devices (jaxvit.runtime) take
any Task and know none by name: no metric, no loss, no model. A new method is a new Task.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from jaxvit.shapes import Array

# Trees of arrays, whose structure only the task knows.
Params = Any  # a nested dict; what is differentiated
Extra = Any  # carried from step to step and not differentiated: batch statistics, a bank; often {}
Weights = Any  # what is averaged, scored and saved for use
Inputs = Any  # what a loss takes; every leaf has the examples along its first axis
Counts = Any  # sums over examples
Outputs = Any  # one row for each example

Batch = dict[str, Array]  # image uint8 (B, H, W, C), label int32 (B,), where asked for index int32
Metrics = dict[str, jax.Array]  # scalars


class Phase(NamedTuple):
    """One gradient and one update of a step.

    Attributes:
      loss: (params, extra, key, inputs) -> (loss, (extra, metrics)). The loss is a mean over the
        examples it is given.
      tx: the optimiser.
      schedule: the learning rate that tx uses, to be reported.
      trains: what of params this phase trains. None means all; a string, the part under that key,
        such as "discriminator"; a frozenset, these paths of nested keys, such as
        {("head", "kernel")}, each to an array or to a dict of them. What is not trained has no
        gradient, no state of the optimiser, and no activations stored for a gradient.
    """

    loss: Callable[[Params, Extra, jax.Array, Inputs], tuple[jax.Array, tuple[Extra, Metrics]]]
    tx: optax.GradientTransformation
    schedule: optax.Schedule
    trains: str | frozenset[tuple[str, ...]] | None = None

    def trained(self, params: Params) -> Params:
        """The part of params that this phase trains; for paths, a nested dict of what they name.

        Raises:
          KeyError: it is not there.
        """
        if self.trains is None:
            return params
        return params[self.trains] if isinstance(self.trains, str) else _only(params, self.trains)

    def with_trained(self, params: Params, trained: Params) -> Params:
        """params with that part replaced; what is not trained is the same array as before."""
        if self.trains is None:
            return trained
        if isinstance(self.trains, str):
            return {**params, self.trains: trained}
        return _merged(params, trained)


def _only(tree: Params, paths: Iterable[tuple[str, ...]]) -> Params:
    by_key: dict[str, list[tuple[str, ...]]] = {}
    for key, *rest in paths:
        by_key.setdefault(key, []).append(tuple(rest))
    return {
        key: tree[key] if () in rests else _only(tree[key], rests) for key, rests in by_key.items()
    }


def _merged(tree: Params, part: Params) -> Params:
    if not isinstance(part, Mapping):
        return part
    return {key: _merged(old, part[key]) if key in part else old for key, old in tree.items()}


class Evaluation(NamedTuple):
    """A scored split.

    Attributes:
      metrics: by name, of the whole split.
      counts: what they were computed from, on the host.
      outputs: one row for each example, in the order of the split, on the host.
    """

    metrics: dict[str, float]
    counts: Counts
    outputs: Outputs


class Results(NamedTuple):
    """What a finished run has to show.

    Attributes:
      lines: of metrics.jsonl.
      best_step: the step of the best validation.
      test: the test split: len(split), split.take(rows), split.names.
      evaluation: of the test split.
      inputs: a sample of training examples as `prepare` made them.
      weights: those that were scored, on the host.
      sketches: name -> (step, uint8 images) of each validation, in order; see Task.sketch.
    """

    lines: Sequence[Mapping[str, float]]
    best_step: int
    test: Any
    evaluation: Evaluation
    inputs: Inputs
    weights: Weights
    sketches: Mapping[str, Sequence[tuple[int, np.ndarray]]] = MappingProxyType({})


class Task(NamedTuple):
    """A method. A step runs its phases one after the other; each sees what those before it updated.

    Attributes:
      init: key -> (params, extra).
      prepare: (key, batch) -> inputs: targets, augmentation, noise, every draw that matters.
      phases: in order, with one key for all of a step.
      weights: (params, extra) -> what is averaged, scored and saved for use.
      score: (weights, key, batch) -> (counts, outputs). Rows whose batch["mask"] is False count
        nowhere. What it draws, it draws for each row from fold_in(key, index).
      metrics: counts of a whole split, on the host -> its metrics.
      monitor: (metric, rises) pairs: the first decides which state is best, the next break ties.
      headline: (metric, format) pairs of a validation, for the progress line and the last line.
      couples: whether the loss of an example depends on other examples (BatchNorm, contrastive).
      axis: the pmap axis over which the task itself computes what couples its examples; None where
        it does not, and then pmap is refused for a task that couples.
      uses_index: whether batches carry each example's row number in its split.
      probe: (outputs_of, split) -> metrics that are no sum over batches (a nearest-neighbour score,
        a kernel distance), computed on the host after each evaluation; outputs_of(split) gives the
        outputs of any split under the same weights.
      compare: (weights, key, batch) -> (counts, outputs), in place of score for the splits that a
        probe compares with, where it needs less of them; None: score.
      draw: results -> figures by name (matplotlib), for the report.
      pretrained: (params, extra) on the host that replace what init draws: nested dicts, each
        part of the task's.
      notes: lines to be said before training.
      pretrained_sha256: of the weights that training starts from; a resumed run has the same.
      pretrained_table: what became of each of their tensors, which a run keeps; or None.
      statistics: (weights, inputs) -> what of `extra` the batch itself gives, such as the mean and
        variance of each layer's inputs. An average of weights has other ones than the averaged:
        they are computed anew over the training split, and replace those in the weights, a dict.
      facts: for summary.json, by name: what was found out before training. A resumed run has them
        from its directory.
      sketch: a validation -> uint8 images (N, H, W, C) by name, which a run keeps of each of its
        validations and shows as it goes.
      alarm: metrics of a validation -> a line to be said of them, or None.
    """

    init: Callable[[jax.Array], tuple[Params, Extra]]
    prepare: Callable[[jax.Array, Batch], Inputs]
    phases: tuple[Phase, ...]
    weights: Callable[[Params, Extra], Weights]
    score: Callable[[Weights, jax.Array, Batch], tuple[Counts, Outputs]]
    metrics: Callable[[Counts], dict[str, float]]
    monitor: tuple[tuple[str, bool], ...]
    headline: tuple[tuple[str, str], ...]
    couples: bool = False
    axis: str | None = None
    uses_index: bool = False
    probe: Callable[[Callable[[Any], Outputs], Any], dict[str, float]] | None = None
    compare: Callable[[Weights, jax.Array, Batch], tuple[Counts, Outputs]] | None = None
    draw: Callable[[Results], dict[str, Any]] = lambda results: {}
    pretrained: tuple[Params, Extra] | None = None
    notes: tuple[str, ...] = ()
    pretrained_sha256: str | None = None
    pretrained_table: str | None = None
    statistics: Callable[[Weights, Inputs], Extra] | None = None
    facts: Mapping[str, Any] = MappingProxyType({})
    sketch: Callable[[Evaluation], dict[str, np.ndarray]] | None = None
    alarm: Callable[[Mapping[str, float]], str | None] = lambda metrics: None
