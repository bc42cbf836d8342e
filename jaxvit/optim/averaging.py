"""Averages of weights: running ones, and soups of finished ones."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def swa_decay(epoch_ends: Sequence[int], begin: int) -> Callable[[jax.Array], jax.Array]:
    """The decay that makes a running average the mean of the weights at some steps.

    At the n-th of these steps, n from 0, the decay is n / (n + 1); at other steps it is 1, which
    leaves the average as it is; up to step `begin` it is 0, so that the average is the weights.

    Args:
      epoch_ends: numbers of steps, ascending: the ends of the epochs that are averaged.
      begin: steps before the first of these epochs.

    Returns:
      step -> decay, where the step is the number of steps taken before the update.

    Source: Izmailov et al. 2018, arXiv:1803.05407. Torch twin: torch.optim.swa_utils.AveragedModel.

    Example:
      >>> decay = swa_decay([4, 6], begin=2)
      >>> [float(decay(jnp.int32(step))) for step in range(6)]
      [0.0, 0.0, 1.0, 0.0, 1.0, 0.5]
    """
    ends = np.asarray(epoch_ends, np.int32)

    def decay(step: jax.Array) -> jax.Array:
        taken = step + 1
        averaged = jnp.sum(jnp.asarray(ends) < taken)
        inside = jnp.where(jnp.any(ends == taken), averaged / (averaged + 1), 1.0)
        return jnp.where(taken <= begin, 0.0, inside)

    return decay


def update_average(average, weights, decay: float | jax.Array, before=None):
    """average' = decay average + (1 - decay) weights, for every floating-point array.

    Two kinds of arrays are copied from weights. Integers, such as counts of batches, because
    optax.incremental_update would turn them into floats. And frozen weights, because the average of
    equal numbers is rounded to another number.

    Args:
      average, weights: trees of the same structure and shapes.
      decay: in [0, 1]; it may be traced.
      before: weights before this step. An array that is the same object there and in weights is
        frozen.

    Returns:
      average', a tree of the same structure.

    Source: Polyak and Juditsky 1992; optax.incremental_update, for floats.
    """
    step_size = 1 - decay

    def update(new: jax.Array, old: jax.Array, new_before: jax.Array | None) -> jax.Array:
        if new is new_before or not jnp.issubdtype(new.dtype, jnp.floating):
            return new
        return step_size * new + (1.0 - step_size) * old

    if before is None:
        before = jax.tree.map(lambda _: None, weights)
    return jax.tree.map(update, weights, average, before)


def average_weights(trees: Sequence[Any]) -> Any:
    """The uniform soup: (1 / n) sum_i weights_i, for every floating-point array.

    The sum is in float64 and is rounded once, so that the order of the trees matters to no bit in
    practice. Integer arrays, such as counts of batches, are those of the first tree. No tree is
    written to.

    Args:
      trees: n >= 1 of the same structure, shapes and dtypes; arrays of NumPy or JAX.

    Returns:
      A tree of NumPy arrays with the dtypes of the first.

    Raises:
      ValueError: there is none, or they do not fit each other.

    Source: Wortsman et al. 2022, arXiv:2203.05482. Torch twin: torch_ref/finetune/soup.py.

    Example:
      >>> average_weights([{"a": np.float32([1, 2])}, {"a": np.float32([3, 2])}])
      {'a': array([2., 2.], dtype=float32)}
    """
    if not trees:
        raise ValueError("there are no weights to average")

    def mean(path, first, *others):
        first, *others = map(np.asarray, (first, *others))
        for other in others:
            if (other.shape, other.dtype) != (first.shape, first.dtype):
                raise ValueError(
                    f"{jax.tree_util.keystr(path)} is {first.dtype} {first.shape} in the first "
                    f"weights and {other.dtype} {other.shape} in others"
                )
        if not jnp.issubdtype(first.dtype, jnp.floating):
            return first.copy()
        total = first.astype(np.float64)
        for other in others:
            total += other
        return (total / len(trees)).astype(first.dtype)

    return jax.tree.map_with_path(mean, *trees)


def greedy_soup(
    candidates: Sequence[Any], score: Callable[[Any], Any]
) -> tuple[Any, tuple[int, ...]]:
    """The greedy soup: weights are added, from the best on, as long as the soup gets no worse.

    Starting with the first candidate, each next one joins if the average with it scores at least as
    high as the average without it.

    Args:
      candidates: weights, sorted from best to worst by the validation score.
      score: weights -> what is largest for the best, on the validation split; it is called once for
        each candidate.

    Returns:
      The average, and the indices of the candidates in it.

    Raises:
      ValueError: see average_weights.

    Source: Wortsman et al. 2022, arXiv:2203.05482, recipe 1. Torch twin:
    torch_ref/finetune/soup.py.

    Example:
      >>> candidates = [np.float64(2), np.float64(-9), np.float64(4)]
      >>> soup, indices = greedy_soup(candidates, lambda x: -abs(x - 3))
      >>> float(soup), indices
      (3.0, (0, 2))
    """
    soup, indices = average_weights(candidates[:1]), (0,)
    best = score(soup)
    for index in range(1, len(candidates)):
        tried = average_weights([candidates[i] for i in (*indices, index)])
        found = score(tried)
        if found >= best:
            soup, indices, best = tried, (*indices, index), found
    return soup, indices
