"""How good generated images are, beside real ones: from features of both, on the host, in NumPy."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# What makes a generator the best, as (metric, whether it rises).
GAN = (("kernel_distance", False),)
DIFFUSION = (("loss", False), ("kernel_distance", False))
RISES = {"kernel_distance": False}
COLLAPSED = 0.3  # of the real images' diversity, below which samples are nearly one image
SIDE = 8  # of the maps of means that stand for an image
NEIGHBOURS = 3  # whose distance is the radius of a ball around an image
CHUNK = 1024  # images that are turned into features, or compared with all others, at once
GROUPS = 10  # each of which is left out once, for an interval


def pixel_features(images: np.ndarray, side: int = SIDE) -> np.ndarray:
    """uint8 (N, S, S, C) to means of squares, in [-1, 1]: min(side, S) rows and columns; (N, D)."""
    size = images.shape[1]
    bounds = np.arange(min(side, size) + 1) * size // min(side, size)
    counts = np.diff(bounds)[:, None, None] * np.diff(bounds)[None, :, None]
    found = []
    for start in range(0, len(images), CHUNK):  # in float64 they take eight times the memory
        part = images[start : start + CHUNK].astype(np.float64)
        sums = np.add.reduceat(np.add.reduceat(part, bounds[:-1], axis=1), bounds[:-1], axis=2)
        found.append((sums / counts).reshape(len(part), -1) / 127.5 - 1)
    return np.concatenate(found)


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), of means m and covariances S.

    The squared Wasserstein distance of two normal distributions; with few images it is too large,
    also between images of one kind.

    Args:
      a, b: features, (N, D) and (M, D), at least two of each.

    Returns:
      At least 0, in squared units of the features.

    Source: Heusel et al. 2017, arXiv:1706.08500.
    """
    (mean_a, cov_a), (mean_b, cov_b) = (
        (each.mean(axis=0), np.atleast_2d(np.cov(each, rowvar=False)))
        for each in (np.asarray(a, np.float64), np.asarray(b, np.float64))
    )
    # The eigenvalues of S_a S_b are those of the symmetric S_a^(1/2) S_b S_a^(1/2).
    values, vectors = np.linalg.eigh(cov_a)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    common = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    squared = ((mean_a - mean_b) ** 2).sum()
    return float(max(0.0, squared + np.trace(cov_a) + np.trace(cov_b) - 2 * common))


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """mean_(i != j) k(a_i, a_j) + mean_(i != j) k(b_i, b_j) - 2 mean k(a_i, b_j).

    With k(x, y) = (x . y / D + 1)^3: the unbiased estimate of the squared maximum mean discrepancy,
    around 0 between images of one kind, also below it.

    Args:
      a, b: features, (N, D) and (M, D), at least two of each.

    Source: Binkowski et al. 2018, arXiv:1801.01401.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)

    def kernel(products: np.ndarray) -> np.ndarray:
        return (products / a.shape[1] + 1) ** 3

    def total(x: np.ndarray, y: np.ndarray) -> float:
        rows = (x[start : start + CHUNK] for start in range(0, len(x), CHUNK))
        return sum(kernel(part @ y.T).sum() for part in rows)

    def of_pairs(x: np.ndarray) -> float:
        itself = kernel((x * x).sum(axis=1)).sum()
        return (total(x, x) - itself) / (len(x) * (len(x) - 1))

    return float(of_pairs(a) + of_pairs(b) - 2 * total(a, b) / (len(a) * len(b)))


class PrecisionRecall(NamedTuple):
    """Shares in [0, 1].

    Attributes:
      precision: of generated images that lie among the real ones.
      recall: of real images that lie among the generated ones.
    """

    precision: float
    recall: float


def precision_recall(
    real: np.ndarray, fake: np.ndarray, neighbours: int = NEIGHBOURS
) -> PrecisionRecall:
    """An image lies among others if it is in the ball of one: as far as its k-th neighbour is.

    Args:
      real, fake: features, (N, D) and (M, D), more than k of each.
      neighbours: k.

    Source: Kynkaanniemi et al. 2019, arXiv:1904.06991.
    """
    between = distances(fake, real)
    radius_real, radius_fake = (
        np.partition(distances(each, each), neighbours, axis=1)[:, neighbours]
        for each in (real, fake)
    )
    return PrecisionRecall(
        float((between <= radius_real).any(axis=1).mean()),
        float((between <= radius_fake[:, None]).any(axis=0).mean()),
    )


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a_i - b_j|, (N, M), in float64."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    if a is b or (a.shape == b.shape and np.array_equal(a, b)):
        np.fill_diagonal(squared, 0)
    return np.sqrt(np.maximum(squared, 0))


def diversity(features: np.ndarray, labels: np.ndarray) -> float:
    """The mean distance of two images of one class, over all pairs; 0 where no class has two."""
    total, pairs = 0.0, 0
    for label in np.unique(labels):
        rows = features[labels == label]
        total += distances(rows, rows).sum()
        pairs += len(rows) * (len(rows) - 1)
    return total / pairs if pairs else 0.0


class Interval(NamedTuple):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


def with_interval(
    measure: Callable[[np.ndarray, np.ndarray], float],
    a: np.ndarray,
    b: np.ndarray,
    groups: int = GROUPS,
    seed: int = 0,
) -> Interval:
    """A measure of two sets of features, with the interval that the jackknife gives.

    value -+ 1.96 se, se^2 = (g - 1) / g sum_i (v_i - mean v)^2, where v_i leaves group i of g out
    of both sets.

    Args:
      measure: of features a and b.
      a, b: (N, D) and (M, D); at least 3 g of each.
      groups: g.
      seed: of the shuffling into groups.

    Source: Efron and Tibshirani 1993, chapter 11, by groups.
    """
    rng = np.random.default_rng(seed)
    members = [rng.permutation(len(each)) % groups for each in (a, b)]
    values = np.array(
        [measure(a[members[0] != group], b[members[1] != group]) for group in range(groups)]
    )
    spread = 1.96 * np.sqrt((groups - 1) / groups * ((values - values.mean()) ** 2).sum())
    value = measure(a, b)
    return Interval(value, value - spread, value + spread)
