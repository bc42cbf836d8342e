"""Decodes image files to uint8 squares, byte for byte as torchvision does."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from jaxvit.data.preprocessing import Geometry
from jaxvit.errors import UnreadableImage

# Detected from the content, not from the file's name. Pillow tries no other format's decoder.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_RESIZED = 2**25  # pixels after resizing, which for a thin image may be many more than before
MAX_PIXELS = 2 * 89_478_485  # in one image: Pillow's own limit for decompression bombs
SIXTEEN_BITS = {"I", "I;16", "I;16L", "I;16B", "I;16N"}  # Pillow's modes of 16-bit grey


class PixelBudget:
    """Bounds the number of pixels that all threads together decode at once.

    Args:
      limit: in pixels, each of which takes 5 bytes (GIF) to 16 (WebP) while it is decoded. An
        image above the limit is decoded while no other is.
    """

    def __init__(self, limit: int):
        self._limit = self._free = limit
        self._changed = threading.Condition()

    @contextmanager
    def spend(self, pixels: int) -> Iterator[None]:
        """Waits until so many pixels are free, and reserves them while entered."""
        pixels = min(pixels, self._limit)
        with self._changed:
            self._changed.wait_for(lambda: pixels <= self._free)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


_budget = PixelBudget(2**27)  # 0.7 to 2.1 GB; five photos of 24 megapixels at once


def decode_image(
    data: bytes, geometry: Geometry, name: str, channels: int = 3, upright: bool = False
) -> np.ndarray:
    """The image, resized and cropped.

    With 3 channels and not upright it equals, byte for byte, torchvision's Resize and CenterCrop of
    `Image.open(...).convert("RGB")`: see Geometry. CMYK, palettes and grey become RGB, transparency
    is dropped, and an animation gives its first frame. Only 16-bit grey differs: it is divided by
    256, where `convert` would clip values above 255 to white.

    Args:
      data: an encoded image, in one of FORMATS.
      geometry: of the result.
      name: of the image, for error messages.
      channels: 3 for RGB, 1 for grey.
      upright: whether the image is rotated by its EXIF orientation.

    Returns:
      uint8 (geometry.size, geometry.size, channels).

    Raises:
      UnreadableImage: the bytes are no image, are truncated, or hold more than MAX_PIXELS.
    """
    try:
        with (
            Image.open(BytesIO(data), formats=FORMATS) as image,  # reads only the header
            _budget.spend(image.width * image.height),
        ):
            return prepare_image(image, geometry, channels, upright)
    except UnidentifiedImageError as error:
        raise UnreadableImage(
            f"{name} cannot be read as an image (not {', '.join(FORMATS)}): repair or remove it"
        ) from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage(
            f"{name} has more than {MAX_PIXELS:,} pixels: make it smaller or remove it"
        ) from error
    except MemoryError:  # says nothing about the image
        raise
    except Exception as error:  # a decoder may raise anything on damaged bytes
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnreadableImage(
            f"{name} cannot be read as an image ({reason}): repair or remove it"
        ) from error


def prepare_image(
    image: Image.Image, geometry: Geometry, channels: int, upright: bool
) -> np.ndarray:
    """A PIL image as decode_image returns it: uint8 (size, size, channels)."""
    if upright:
        image = ImageOps.exif_transpose(image)
    width, height = geometry.resized(image.width, image.height)
    if width * height > MAX_RESIZED:
        raise ValueError(f"{image.width} x {image.height} pixels are too thin to be resized")
    image = _to_rgb(image)
    pixels = geometry.apply(image if channels == 3 else image.convert("L"))
    return pixels if channels == 3 else pixels[:, :, None]


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in SIXTEEN_BITS:
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")
