"""Attributions as pictures: normalised to [-1, 1], and as RGB arrays beside or over the image."""

from typing import Literal

import numpy as np

Sign = Literal["all", "positive", "negative", "absolute_value"]
OUTLIER_PERC = 2.0
# The ends of the scale on white, and its middle: negative, none, positive.
NEGATIVE, NONE, POSITIVE = (
    np.array(each, np.float32) for each in ((0.7, 0.1, 0.1), (1, 1, 1), (0.1, 0.3, 0.7))
)


def normalize_attributions(
    attributions: np.ndarray, sign: Sign = "absolute_value", outlier_perc: float = OUTLIER_PERC
) -> np.ndarray:
    """Channels summed, then the sign, then a / s, clipped to [-1, 1].

    s is the least magnitude at which the cumulative sum of the sorted magnitudes reaches
    100 - outlier_perc percent of the whole.

    Args:
      attributions: (H, W, C), or (H, W).
      sign: "all" keeps both; "positive" and "negative" set the others to 0; "absolute_value" drops
        it. Those of "negative" end up in [0, 1] too, as Captum's.
      outlier_perc: in [0, 100].

    Returns:
      (H, W) float64; zeros where there is nothing but zeros.

    Raises:
      ValueError: there is no such sign, or outlier_perc is out of its range.

    Source: Captum's visualize_image_attr.
    """
    if not 0 <= outlier_perc <= 100:
        raise ValueError(f"outlier_perc {outlier_perc} is out of range: give 0 to 100")
    summed = np.asarray(attributions, np.float64)
    summed = summed.sum(axis=2) if summed.ndim == 3 else summed
    if sign == "positive":
        summed = np.maximum(summed, 0)
    elif sign == "negative":
        summed = -np.minimum(summed, 0)
    elif sign == "absolute_value":
        summed = np.abs(summed)
    elif sign != "all":
        raise ValueError(f"unknown sign {sign!r}: choose one of {', '.join(Sign.__args__)}")
    magnitudes = np.sort(np.abs(summed), axis=None)
    sums = np.cumsum(magnitudes)
    scale = magnitudes[np.argmax(sums >= sums[-1] * 0.01 * (100 - outlier_perc))]
    return np.clip(summed / scale, -1, 1) if scale else np.zeros_like(summed)


def heat_map(normalized: np.ndarray) -> np.ndarray:
    """(H, W) in [-1, 1] as RGB in [0, 1]: red below 0, white at 0, blue above."""
    size = np.abs(normalized)[..., None].astype(np.float32)
    end = np.where(normalized[..., None] < 0, NEGATIVE, POSITIVE)
    return NONE + size * (end - NONE)


def overlay(image: np.ndarray, normalized: np.ndarray, alpha: float = 0.6) -> np.ndarray:
    """The heat map over the grey image, as RGB in [0, 1].

    Args:
      image: (H, W, C) in [0, 1].
      normalized: (H, W) in [-1, 1].
      alpha: share of the heat map, in [0, 1].
    """
    grey = np.asarray(image, np.float32).mean(axis=2, keepdims=True).repeat(3, axis=2)
    return (1 - alpha) * grey + alpha * heat_map(normalized)


def masked_image(image: np.ndarray, normalized: np.ndarray) -> np.ndarray:
    """The image times the attributions (H, W) in [0, 1], as RGB: dark where there are none."""
    return _rgb(image) * np.clip(normalized, 0, 1)[..., None].astype(np.float32)


def side_by_side(*pictures: np.ndarray, gap: int = 4) -> np.ndarray:
    """RGB or grey arrays of one height, (H, W, 3) or (H, W, 1), as RGB in a row on white."""
    height = pictures[0].shape[0]
    white = np.ones((height, gap, 3), np.float32)
    parts = [white]
    for picture in pictures:
        parts += [_rgb(picture), white]
    return np.concatenate(parts[1:-1], axis=1)


def _rgb(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32 of an image of one or three channels."""
    return np.broadcast_to(np.asarray(image, np.float32), (*image.shape[:2], 3))


def enlarge(grid: np.ndarray, size: int) -> np.ndarray:
    """A map (n, n) as (size, size), bilinear, to be laid over an image."""
    from PIL import Image

    image = Image.fromarray(np.asarray(grid, np.float32))
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
