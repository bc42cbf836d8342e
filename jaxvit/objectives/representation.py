"""What features are good for, without training the network further; on the host, in NumPy."""

import numpy as np

from jaxvit.objectives.metrics import wilson

# What makes a representation the best, as (metric, whether it rises); the second breaks ties.
MONITOR = (("knn_accuracy", True), ("linear_accuracy", True))
WITHOUT_LABELS = (("retrieval_accuracy", True), ("uniformity", False))
RISES = {
    "knn_accuracy": True, "linear_accuracy": True, "retrieval_accuracy": True,
    "alignment": False, "uniformity": False,
}  # fmt: skip
CHUNK = 512  # images that are compared with all others at once
NEIGHBOURS, TEMPERATURE = 20, 0.07  # of Wu et al. 2018, with fewer neighbours for few images


def unit(features: np.ndarray) -> np.ndarray:
    """Rows of length 1, in float64; a row of zeros stays."""
    features = np.asarray(features, np.float64)
    return features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-12)


def nearest(
    queries: np.ndarray, features: np.ndarray, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of `features` with the greatest cosine to each query, the closest first.

    Returns:
      The rows and their cosines, (Q, k) each.
    """
    queries, features = unit(queries), unit(features)
    rows, found = [], []
    for start in range(0, len(queries), CHUNK):
        cosines = queries[start : start + CHUNK] @ features.T
        rows.append(np.argsort(-cosines, axis=1, kind="stable")[:, :number])
        found.append(np.take_along_axis(cosines, rows[-1], axis=1))
    return np.concatenate(rows), np.concatenate(found)


def knn_predict(
    queries: np.ndarray,
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    neighbours: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> np.ndarray:
    """The class of the weighted vote of the nearest neighbours: argmax_c sum exp(cos / t) [y = c].

    Args:
      queries: (Q, D).
      features: (N, D), of labelled images.
      labels: (N,), integers in [0, classes).
      classes: K.
      neighbours: k; N where there are fewer.
      temperature: t, above 0.

    Returns:
      (Q,).

    Source: Wu et al. 2018, arXiv:1805.01978, section 3.4.
    """
    rows, cosines = nearest(queries, features, min(neighbours, len(features)))
    votes = np.zeros((len(queries), classes))
    for row in range(rows.shape[1]):
        weights = np.exp((cosines[:, row] - 1) / temperature)
        np.add.at(votes, (np.arange(len(queries)), labels[rows[:, row]]), weights)
    return votes.argmax(axis=1)


def share(right: np.ndarray, name: str) -> dict[str, float]:
    """{name: share, name_low: ..., name_high: ...}, with the 95 % interval: see wilson."""
    low, high = wilson(float(right.sum()), len(right))
    return {name: float(right.mean()), f"{name}_low": low, f"{name}_high": high}


def alignment(a: np.ndarray, b: np.ndarray) -> float:
    """Mean of |a_i - b_i|^2 over images, of two views of length 1: in [0, 4], less is better.

    Source: Wang and Isola 2020, arXiv:2005.10242, with its exponent 2.
    """
    return float(((unit(a) - unit(b)) ** 2).sum(axis=1).mean())


def uniformity(features: np.ndarray) -> float:
    """log mean exp(-2 |z_i - z_j|^2) over pairs of images, z of length 1: in [-8, 0].

    Less is better: features are spread over the sphere. 0 for a single image.

    Source: Wang and Isola 2020, arXiv:2005.10242, with its t of 2.
    """
    z = unit(features)
    if len(z) < 2:
        return 0.0
    total = -float(len(z))  # of an image and itself
    for start in range(0, len(z), CHUNK):
        squares = np.maximum(2 - 2 * (z[start : start + CHUNK] @ z.T), 0)
        total += np.exp(-2 * squares).sum()
    return float(np.log(total / (len(z) * (len(z) - 1))))


def retrieval_accuracy(a: np.ndarray, b: np.ndarray) -> float:
    """The share of images whose view a is closer to its own view b than to any other image's."""
    rows, _ = nearest(a, b, 1)
    return float((rows[:, 0] == np.arange(len(a))).mean())
