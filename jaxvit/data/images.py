"""Bytes of a JPEG or PNG to RGB uint8 at the model's size, exactly as torchvision resizes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from jaxvit.errors import UnreadableImage

# By content, whatever the name says. No other format's decoder is ever handed a user's bytes.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 2 * 89_478_485  # in one image: where Pillow, too, speaks of a decompression bomb
SIXTEEN_BITS = {"I", "I;16", "I;16L", "I;16B", "I;16N"}  # what Pillow calls 16-bit grey


class PixelBudget:
    """Bounds how many pixels are being decoded at once, over all threads.

    Args:
      limit: pixels, which take 5 bytes (GIF) to 16 (WebP) each while they are decoded. A larger
        image waits until it is alone.
    """

    def __init__(self, limit: int):
        self._limit = self._free = limit
        self._changed = threading.Condition()

    @contextmanager
    def spend(self, pixels: int) -> Iterator[None]:
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


_budget = PixelBudget(2**27)  # 1 to 2 GB, and five photographs of 24 megapixels at once


def decode_image(
    data: bytes, img_size: int, name: str, channels: int = 3, upright: bool = False
) -> np.ndarray:
    """The picture at img_size by img_size pixels, uint8 (img_size, img_size, channels).

    With 3 channels and not upright, byte for byte torchvision's `Resize((img_size, img_size))` on
    `Image.open(...).convert("RGB")`: Pillow's bilinear filter, antialiased, aspect ratio not kept.
    CMYK, palettes and grey become RGB, transparency is dropped, of an animation the first frame is
    taken. Only 16-bit grey differs: its high byte is kept, where `convert` would clip it to white.

    Args:
      data: an encoded image, in one of FORMATS.
      img_size: pixels.
      name: for the error message.
      channels: 3 for RGB, 1 for grey.
      upright: whether the EXIF orientation is applied.

    Raises:
      UnreadableImage: the bytes are no image, are cut short, or hold more than MAX_PIXELS.
    """
    try:
        with (
            Image.open(BytesIO(data), formats=FORMATS) as image,  # reads no more than the header
            _budget.spend(image.width * image.height),
        ):
            return prepare_image(image, img_size, channels, upright)
    except UnidentifiedImageError as error:
        raise UnreadableImage(
            f"{name} cannot be read as an image (not {', '.join(FORMATS)}): repair or remove it"
        ) from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage(
            f"{name} has more than {MAX_PIXELS:,} pixels: make it smaller or remove it"
        ) from error
    except MemoryError:  # not the image's fault
        raise
    except Exception as error:  # whatever a decoder may meet in bytes that no encoder wrote
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnreadableImage(
            f"{name} cannot be read as an image ({reason}): repair or remove it"
        ) from error


def prepare_image(image: Image.Image, img_size: int, channels: int, upright: bool) -> np.ndarray:
    """A PIL image as decode_image returns it."""
    if upright:
        image = ImageOps.exif_transpose(image)
    image = _to_rgb(image)
    pixels = resize_pixels(image if channels == 3 else image.convert("L"), img_size)
    return pixels if channels == 3 else pixels[:, :, None]


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in SIXTEEN_BITS:
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


def resize_pixels(image: Image.Image, img_size: int) -> np.ndarray:
    """The image at img_size by img_size pixels, uint8, channels last."""
    return np.asarray(image.resize((img_size, img_size), Image.Resampling.BILINEAR))
