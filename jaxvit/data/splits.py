"""Holding out a share of every class."""

from collections.abc import Sequence

import numpy as np


def stratified_split(
    labels: np.ndarray, names: Sequence[str], fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of those kept and of those held out, both in rising order.

    Of each class with n examples, round(fraction n) are held out, but at least one and at most
    n - 1; a class with a single example keeps it. The rows are chosen by one NumPy generator,
    class by class in rising order, from its examples in the order of their names: so the split
    does not depend on the order in which a source lists them.

    Args:
      labels: integers, (N,).
      names: N, all different.
      fraction: in (0, 1).
      seed: of numpy.random.default_rng.

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
