"""Several batches to one update: gradients are summed until the last of them."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvit.shapes import Array, Bool, Int


class Joining(NamedTuple):
    """Which batches of a run give an update together.

    Attributes:
      updates: (S,), whether an update comes after the batch of each step.
      sizes: (S,), the batches whose gradients that update has.
    """

    updates: Bool[np.ndarray, "S"]
    sizes: Int[np.ndarray, "S"]

    @property
    def steps(self) -> np.ndarray:
        """The step, from 0, of each update."""
        return np.flatnonzero(self.updates)


def plan_joining(
    batches: Sequence[tuple[int, int]], total_steps: int, steps_per_epoch: Fraction
) -> Joining:
    """Groups of K batches within each epoch; the last group of an epoch may have fewer.

    Args:
      batches: (epoch, K) pairs: from that epoch on, counted from 0, K batches are joined. Before
        the first of these epochs each batch is an update of its own.
      total_steps: S, batches of the run.
      steps_per_epoch: examples over batch size; a batch belongs to the epoch of its first example.

    Example:
      >>> plan_joining([(0, 3), (1, 1)], total_steps=6, steps_per_epoch=Fraction(4)).sizes.tolist()
      [0, 0, 3, 1, 1, 1]
    """
    sizes = np.zeros(total_steps, np.int32)
    begin, epoch = 0, 0
    while begin < total_steps:
        end = min(total_steps, math.ceil((epoch + 1) * steps_per_epoch))
        size = max(((first, k) for first, k in batches if first <= epoch), default=(0, 1))[1]
        for start in range(begin, end, size):
            last = min(start + size, end)
            sizes[last - 1] = last - start
        begin, epoch = max(begin, end), epoch + 1
    return Joining(sizes > 0, sizes)


class JoinedState(NamedTuple):
    """What is carried between the batches of an update.

    Attributes:
      step: batches so far.
      sums: of gradients since the last update.
      inner: the state of the optimiser.
    """

    step: Int[Array, ""]
    sums: Any
    inner: optax.OptState


def joined(tx: optax.GradientTransformation, joining: Joining) -> optax.GradientTransformation:
    """tx, given the mean gradient of each group of batches; between updates nothing changes.

    u = tx((1 / K) sum_k g_k) after the K-th batch of a group, and u = 0 before.

    Args:
      tx: counts updates, not batches.
      joining: of every step of the run.

    Source: lightning.pytorch.callbacks.GradientAccumulationScheduler, which also divides the last
    group of an epoch by its K where it has fewer batches.
    """

    def init(params: optax.Params) -> JoinedState:
        return JoinedState(
            jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params), tx.init(params)
        )

    def update(
        grads: optax.Updates, state: JoinedState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, JoinedState]:
        sums = jax.tree.map(jnp.add, state.sums, grads)
        size = jnp.asarray(joining.sizes)[state.step]
        zeros = jax.tree.map(jnp.zeros_like, sums)

        def act(inner: optax.OptState):
            updates, inner = tx.update(jax.tree.map(lambda x: x / size, sums), inner, params)
            return updates, zeros, inner

        updates, sums, inner = jax.lax.cond(
            size > 0, act, lambda inner: (zeros, sums, inner), state.inner
        )
        return updates, JoinedState(state.step + 1, sums, inner)

    return optax.GradientTransformation(init, update)


def schedule_of_updates(schedule: optax.Schedule, joining: Joining) -> optax.Schedule:
    """The rate of the n-th update, n from 0: the schedule's at the step of its last batch."""
    steps = joining.steps.astype(np.int32)
    return lambda count: schedule(jnp.asarray(steps)[count])
