"""Images that a run keeps of each validation: sketches/NAME/STEP.png, one below the other."""

import math
from collections.abc import Container
from pathlib import Path

import numpy as np
from PIL import Image

from jaxvit.cleanup import whole_file

FOLDER = "sketches"


def write_sketch(run: Path, name: str, step: int, images: np.ndarray) -> None:
    """Keeps uint8 images (N, H, W, C), C 1 or 3, of a validation."""
    path = run / FOLDER / name / f"{step}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    column = images.reshape(-1, *images.shape[2:])
    picture = Image.fromarray(column[..., 0] if column.shape[-1] == 1 else column)
    with whole_file(path) as partial:
        picture.save(partial, format="png")


def read_sketches(run: Path, steps: Container[int]) -> dict[str, list[tuple[int, np.ndarray]]]:
    """name -> (step, images) of the validations at these steps, in order.

    Args:
      run: its directory.
      steps: others are left out: a run that is killed after it wrote a sketch takes that step
        again.
    """
    found: dict[str, list[tuple[int, np.ndarray]]] = {}
    for path in (run / FOLDER).glob("*/*.png"):
        if path.stem.isdecimal() and int(path.stem) in steps:
            try:
                with Image.open(path) as image:
                    pixels = np.asarray(image)
            except OSError:  # damaged: a picture less, and no reason to lose the run
                continue
            pixels = pixels[..., None] if pixels.ndim == 2 else pixels
            images = pixels.reshape(-1, pixels.shape[1], pixels.shape[1], pixels.shape[-1])
            found.setdefault(path.parent.name, []).append((int(path.stem), images))
    return {name: sorted(each, key=lambda pair: pair[0]) for name, each in found.items()}


def tiled(images: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, C) as one image of rows as long as columns, black where there is none."""
    number, height, width, channels = images.shape
    side = math.ceil(math.sqrt(number))
    cells = np.zeros((side * math.ceil(number / side), height, width, channels), np.uint8)
    cells[:number] = images
    rows = cells.reshape(-1, side, height, width, channels).swapaxes(1, 2)
    return rows.reshape(-1, side * width, channels)
