"""Positions of another image size, resized as each ecosystem does it.

Every method is linear and separable: for a grid P (g, g, D) the new one is

    P'[i, j] = sum_{a, b} M[i, a] M[j, b] P[a, b],

with a matrix M (g', g) computed in float64. The class token's position is kept.
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from jaxvit.errors import UserError

Method = Literal["bicubic_antialias", "bicubic", "bicubic_aligned", "zoom"]


def resize_positions(positions: np.ndarray, grid: int, method: Method) -> np.ndarray:
    """Positions for grid by grid patches.

    Args:
      positions: (1, 1 + g^2, D), the class token's first.
      grid: patches along a side of the new image, at least 1.
      method: "bicubic_antialias" (timm's resample_abs_pos_embed; also HF's Dinov2WithRegisters),
        "bicubic" (HF's interpolate_pos_encoding), "bicubic_aligned" (torchvision's
        interpolate_embeddings) or "zoom" (vit_jax and lukemelas: scipy.ndimage.zoom, order 1).

    Returns:
      (1, 1 + grid^2, D) of the same dtype; the same array where the grid does not change.

    Raises:
      UserError: the positions are not those of a square grid and a class token.
    """
    first, rest = positions[:, :1], positions[0, 1:]
    old = grid_of(rest.shape[0])
    if old is None:
        raise UserError(
            f"positions of shape {positions.shape} are not those of a class token and a square "
            "grid of patches: this model cannot be resized"
        )
    if old == grid:
        return positions
    matrix = METHODS[method](old, grid)
    square = rest.reshape(old, old, -1).astype(np.float64)
    resized = np.einsum("ia,jb,abd->ijd", matrix, matrix, square, optimize=True)
    flat = resized.reshape(1, grid * grid, -1).astype(positions.dtype)
    return np.concatenate([first, flat], axis=1)


def grid_of(tokens: int) -> int | None:
    """g for g^2 tokens, or None if the number is no square."""
    side = math.isqrt(tokens) if tokens > 0 else 0
    return side if side and side * side == tokens else None


def cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys's kernel on [-2, 2], with the parameter a: Keys 1981, eq. 15."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def bicubic_antialias_matrix(old: int, new: int) -> np.ndarray:
    """Pillow's and torch's antialiased filter: a = -1/2, widened when the grid shrinks."""
    scale = old / new
    width = max(scale, 1.0)
    matrix = np.zeros((new, old))
    for i in range(new):
        centre = scale * (i + 0.5)
        low = max(int(centre - 2 * width + 0.5), 0)
        high = min(int(centre + 2 * width + 0.5), old)
        weights = cubic((np.arange(low, high) - centre + 0.5) / width, -0.5)
        matrix[i, low:high] = weights / weights.sum()
    return matrix


def bicubic_matrix(old: int, new: int) -> np.ndarray:
    """torch's bicubic with align_corners=False: a = -3/4, half-pixel centres, edges repeated."""
    return _four_taps((np.arange(new) + 0.5) * (old / new) - 0.5, old)


def bicubic_aligned_matrix(old: int, new: int) -> np.ndarray:
    """torch's bicubic with align_corners=True: a = -3/4, the corners stay where they are."""
    return _four_taps(_aligned(old, new), old)


def zoom_matrix(old: int, new: int) -> np.ndarray:
    """Linear interpolation; the corners stay where they are."""
    source = _aligned(old, new)
    left = np.minimum(np.floor(source).astype(int), max(old - 2, 0))
    right = np.minimum(left + 1, old - 1)
    matrix = np.zeros((new, old))
    np.add.at(matrix, (np.arange(new), left), 1 - (source - left))
    np.add.at(matrix, (np.arange(new), right), source - left)
    return matrix


def _aligned(old: int, new: int) -> np.ndarray:
    return np.arange(new) * ((old - 1) / (new - 1) if new > 1 else 0.0)


def _four_taps(source: np.ndarray, old: int) -> np.ndarray:
    left = np.floor(source).astype(int)
    matrix = np.zeros((len(source), old))
    for tap in range(-1, 3):
        weights = cubic(source - (left + tap), -0.75)
        np.add.at(matrix, (np.arange(len(source)), np.clip(left + tap, 0, old - 1)), weights)
    return matrix


METHODS: dict[str, Callable[[int, int], np.ndarray]] = {
    "bicubic_antialias": bicubic_antialias_matrix,
    "bicubic": bicubic_matrix,
    "bicubic_aligned": bicubic_aligned_matrix,
    "zoom": zoom_matrix,
}
