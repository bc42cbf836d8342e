"""Images inside a page: JPEG as data URIs, within a budget of bytes."""

import base64
import io
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

QUALITY = 80


def data_uri(image: np.ndarray, side: int | None = None, quality: int = QUALITY) -> str:
    """An image as `data:image/jpeg;base64,...`.

    Args:
      image: uint8 (H, W, C), C of 1 or 3, or (H, W).
      side: of the longer side at most, in pixels; smaller images are enlarged by whole factors up
        to it, so that their pixels stay sharp.
      quality: of the JPEG, in [1, 95].
    """
    picture = Image.fromarray(np.asarray(image).squeeze()).convert("RGB")
    if side is not None:
        longer = max(picture.size)
        factor = max(1, side // longer) if longer <= side else side / longer
        size = tuple(max(1, round(each * factor)) for each in picture.size)
        kind = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BILINEAR
        picture = picture.resize(size, kind)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def reduced(image: np.ndarray, side: int) -> np.ndarray:
    """The image with its longer side at most `side`, to keep many of them in memory."""
    if max(image.shape[:2]) <= side:
        return image
    picture = Image.fromarray(np.asarray(image).squeeze())
    picture.thumbnail((side, side))
    return np.asarray(picture)


def within(
    images: Iterable[tuple[int, np.ndarray]], side: int, budget: int
) -> Iterator[tuple[int, str]]:
    """(row, data URI) of the images in their order, until the next one would pass the budget.

    Args:
      images: rows and uint8 images.
      side: see data_uri.
      budget: characters of all URIs.
    """
    for row, image in images:
        uri = data_uri(image, side)
        budget -= len(uri)
        if budget < 0:
            return
        yield row, uri
