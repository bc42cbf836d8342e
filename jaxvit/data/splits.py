"""Stratified choices: a share of every class is held out, or so many are kept."""

from collections.abc import Sequence

import numpy as np


def stratified_split(
    labels: np.ndarray, names: Sequence[str], fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Holds out a share of each class.

    Of a class with n examples, round(fraction n) are held out, but at least 1 and at most n - 1; of
    a class with one example, none. One NumPy generator chooses them, class by class in increasing
    order, from the class's examples sorted by name. So the split does not depend on the order in
    which a source lists the examples.

    Args:
      labels: integers, (N,).
      names: N, all different.
      fraction: in (0, 1).
      seed: of numpy.random.default_rng.

    Returns:
      Indices of the examples kept and of those held out, both in increasing order.

    Torch twin: torch_ref.datasets.stratified_split, which makes the same split.
    """
    rng = np.random.default_rng(seed)
    by_name = np.argsort(np.asarray(names), kind="stable")
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = by_name[labels[by_name] == label]
        size = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        held_out[rng.permutation(rows)[:size]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def keep_per_class(labels: np.ndarray, names: Sequence[str], number: int, seed: int) -> np.ndarray:
    """Indices of `number` examples of each class, in increasing order; all of a smaller class.

    They do not depend on the order in which a source lists the examples.

    Args:
      labels, names, seed: as of stratified_split.
      number: at least 1.
    """
    rng, chosen = np.random.default_rng(seed), []
    by_name = np.argsort(np.asarray(names), kind="stable")
    for label in np.unique(labels):
        chosen += rng.permutation(by_name[labels[by_name] == label])[:number].tolist()
    return np.asarray(sorted(chosen), int)
