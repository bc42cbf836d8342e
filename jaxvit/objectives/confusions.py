"""Which wrong predictions are worth a look: the surest ones, and the most frequent ones."""

import numpy as np

from jaxvit.shapes import Float, Int


def surest_errors(
    labels: Int[np.ndarray, "B"],
    predicted: Int[np.ndarray, "B"],
    confidence: Float[np.ndarray, "B"],
    number: int,
) -> Int[np.ndarray, "M"]:
    """Rows of the wrong predictions of the highest confidence, the highest first.

    Args:
      labels, predicted: class indices.
      confidence: probability of the predicted class.
      number: of rows at most; of equals the first come first.

    Example:
      >>> surest_errors(np.array([0, 1, 2]), np.array([0, 0, 1]), np.array([0.9, 0.4, 0.7]), 5)
      array([2, 1])
    """
    wrong = np.flatnonzero(predicted != labels)
    return wrong[np.argsort(-confidence[wrong], kind="stable")][:number]


def frequent_confusions(
    confusion: Int[np.ndarray, "K K"], number: int
) -> list[tuple[int, int, int]]:
    """(class, predicted class, images), the most frequent first; of equals, in the classes' order.

    Example:
      >>> frequent_confusions(np.array([[5, 1, 0], [3, 9, 0], [0, 0, 2]]), 10)
      [(1, 0, 3), (0, 1, 1)]
    """
    off = np.array(confusion)
    np.fill_diagonal(off, 0)
    pairs = np.argwhere(off)
    order = np.argsort(-off[tuple(pairs.T)], kind="stable")[:number]
    return [(int(i), int(j), int(off[i, j])) for i, j in pairs[order]]
