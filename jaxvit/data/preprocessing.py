"""How an image becomes the square that a model sees; it travels with the weights."""

import math
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

Filter = Literal["nearest", "bilinear", "bicubic", "lanczos"]
FILTERS: dict[Filter, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS,
}  # fmt: skip


class Geometry(NamedTuple):
    """Resize and centre crop, with Pillow's antialiased filters.

    The image is resized to R = floor(size / crop_share): "squash" makes it R by R, and "short_side"
    its shorter side R, so that the aspect ratio is kept. Then size by size pixels are cut from the
    centre. Byte for byte this is torchvision's Resize and CenterCrop of a PIL image, and so timm's
    and the reference evaluation of torchvision's weights.

    Attributes:
      size: height and width of the result, in pixels.
      resize: "squash" or "short_side".
      crop_share: in (0, 1].
      interpolation: a name in FILTERS.
    """

    size: int
    resize: Literal["squash", "short_side"] = "squash"
    crop_share: float = 1.0
    interpolation: Filter = "bilinear"

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of an image before its centre is cut out."""
        target = math.floor(self.size / self.crop_share)
        if self.resize == "squash":
            return target, target
        short = min(width, height)
        # As torchvision: the longer side is rounded down.
        sides = (
            target if side == short else int(target * side / short) for side in (width, height)
        )
        return tuple(sides)

    def apply(self, image: Image.Image) -> np.ndarray:
        """uint8 (size, size), or (size, size, 3) of an RGB image."""
        width, height = self.resized(image.width, image.height)
        if (width, height) != image.size:
            image = image.resize((width, height), FILTERS[self.interpolation])
        left, top = (round((side - self.size) / 2) for side in (width, height))
        return np.asarray(image.crop((left, top, left + self.size, top + self.size)))


class Preprocessing(NamedTuple):
    """Everything between an image file and a model's input.

    Attributes:
      geometry: resize and crop.
      mean, std: for each channel, of pixels in [0, 1]: x = (pixel / 255 - mean) / std.
    """

    geometry: Geometry
    mean: tuple[float, ...]
    std: tuple[float, ...]
