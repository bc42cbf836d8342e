"""Where the object of a photo is: masks beside the photos, for the pointing game."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from jaxvit.data.preprocessing import Geometry
from jaxvit.errors import UserError
from jaxvit.paths import legible
from jaxvit.shapes import Bool

INSIDE = (1, 255)  # a trimap's object, and that of a mask in black and white


def read_mask(
    directory: Path, photo: Path, geometry: Geometry, inside: Sequence[int] = INSIDE
) -> Bool[np.ndarray, "S S"]:
    """DIRECTORY/STEM.png of a photo STEM.*, resized and cut like the photo.

    Args:
      directory: of the masks, each a grey or palette image of its photo's size.
      photo: whose mask it is; it has to be stored upright.
      geometry: that prepares the photo.
      inside: the mask's values in the object; Pets' trimaps have 1 for it, 2 for the background and
        3 for the border between them.

    Returns:
      True where at least half of a pixel lies in the object.

    Raises:
      UserError: there is no such mask, or it is of another size than the photo.
    """
    path = directory / f"{photo.stem}.png"
    try:
        with Image.open(path) as mask, Image.open(photo) as image:
            values, sizes = np.asarray(mask), (mask.size, image.size)
    except OSError as error:
        raise UserError(
            f"the mask {legible(path)} of {legible(photo)} cannot be read ({error}): give a "
            "directory with STEM.png for each photo"
        ) from error
    if values.ndim != 2 or sizes[0] != sizes[1]:
        raise UserError(
            f"the mask {legible(path)} is {values.shape} and its photo {sizes[1][::-1]}: give a "
            "grey or palette image of the photo's size"
        )
    whole = Image.fromarray(np.where(np.isin(values, inside), 255, 0).astype(np.uint8))
    return geometry.apply(whole) >= 128
