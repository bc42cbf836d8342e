"""What training carries from one step to the next."""

from collections.abc import Mapping
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxvit.shapes import Array, Int
from jaxvit.training.task import Extra, Params, Task, Weights

VERSION = 2  # of TrainState; raised when its fields change, so that older checkpoints are refused


class TrainState(NamedTuple):
    """The whole state of a run: with the seed and the step, everything that follows is fixed.

    Attributes:
      step: steps taken so far.
      params: what is differentiated, float32.
      extra: what is carried along and not differentiated; {} for most tasks.
      opt_state: the optimiser's state of each phase.
      averages: the running average of the task's weights, or None where it is not asked for.
    """

    step: Int[Array, ""]
    params: Params
    extra: Extra
    opt_state: tuple[optax.OptState, ...]
    averages: Weights | None


def create_state(
    task: Task,
    seed: int,
    average: bool = False,
    pretrained: tuple[Params, Extra] | None = None,
) -> TrainState:
    """The state at step 0, drawn from jax.random.key(seed).

    Args:
      task: whose parameters it holds.
      seed: of the initial parameters.
      average: whether a running average of the weights is kept.
      pretrained: parameters, and what is carried besides them, that are not drawn: nested dicts of
        arrays, each part of the task's.

    Raises:
      AssertionError: one of them has another shape or dtype than the task's.
    """
    params, extra = task.init(jax.random.key(seed))
    if pretrained is not None:
        params, extra = _replaced(params, pretrained[0]), _replaced(extra, pretrained[1])
    weights = task.weights(params, extra)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        extra=extra,
        opt_state=tuple(phase.tx.init(phase.trained(params)) for phase in task.phases),
        # A copy: the step donates its state, and one buffer cannot be donated twice.
        averages=jax.tree.map(jnp.copy, weights) if average else None,
    )


def weights_of(task: Task, state: TrainState) -> Weights:
    """What is scored and used: the running average where there is one."""
    if state.averages is not None:
        return state.averages
    return task.weights(state.params, state.extra)


def _replaced(params: Params, given: Params) -> Params:
    if not isinstance(given, Mapping):
        chex.assert_trees_all_equal_shapes_and_dtypes(params, given)
        return given
    return {**params, **{name: _replaced(params[name], part) for name, part in given.items()}}
