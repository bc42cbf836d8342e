"""Bytes of a JPEG or PNG to RGB uint8 at the model's size, exactly as torchvision resizes."""

from io import BytesIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from jaxvit.config import UserError


def decode_image(data: bytes, img_size: int, name: str) -> np.ndarray:
    """The picture at img_size by img_size pixels, uint8 (img_size, img_size, 3).

    Byte for byte torchvision's `Resize((img_size, img_size))` on `Image.open(...).convert("RGB")`:
    Pillow's bilinear filter, antialiased, aspect ratio not kept.

    Args:
      data: an encoded image.
      img_size: pixels.
      name: for the error message.

    Raises:
      UserError: the bytes are not an image, or are cut short.
    """
    try:
        with Image.open(BytesIO(data)) as image:
            return resize_pixels(image.convert("RGB"), img_size)
    except UnidentifiedImageError as error:
        raise UserError(
            f"{name} cannot be read as an image (no known format): repair or remove it"
        ) from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{name} cannot be read as an image ({error}): repair or remove it"
        ) from error


def resize_pixels(image: Image.Image, img_size: int) -> np.ndarray:
    """The image at img_size by img_size pixels, uint8, channels last."""
    return np.asarray(image.resize((img_size, img_size), Image.Resampling.BILINEAR))
