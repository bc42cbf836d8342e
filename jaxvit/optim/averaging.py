"""Averages of weights: running ones, and soups of finished ones."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def update_average(average, weights, decay: float, before=None):
    """average' = decay average + (1 - decay) weights, for every floating-point array.

    Two kinds of arrays are copied from weights. Integers, such as counts of batches, because
    optax.incremental_update would turn them into floats. And frozen weights, because the average of
    equal numbers is rounded to another number.

    Args:
      average, weights: trees of the same structure and shapes.
      decay: in [0, 1).
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
