"""Oxford Flowers-17 as a data set of images and instance numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from torch_ref.datasets import stratified_split

CLASSES = (
    "Daffodil", "Snowdrop", "Lily Valley", "Bluebell", "Crocus", "Iris", "Tigerlily", "Tulip",
    "Fritillary", "Sunflower", "Daisy", "Colts' Foot", "Dandelion", "Cowslip", "Buttercup",
    "Windflower", "Pansy",
)  # fmt: skip
PER_CLASS, TEST_FRACTION = 80, 0.1


class Flowers17(Dataset):
    """Some of the 1,360 photos; item i is (transform(photo), i, class).

    Args:
        root: holds jpg/, with files.txt, which lists the photos class by class.
        rows: of the list, counted from 0; None for all.
        transform: of a PIL image of `size` x `size` pixels.
        size: to which photos are resized, in pixels.
    """

    def __init__(
        self,
        root: str | Path,
        transform: Callable[[Image.Image], Any],
        size: int,
        rows: np.ndarray | None = None,
    ):
        folder = Path(root) / "jpg"
        names = (folder / "files.txt").read_text().split()
        self.rows = np.arange(len(names)) if rows is None else np.asarray(rows)
        self.paths = [folder / names[row] for row in self.rows]
        self.labels = self.rows // PER_CLASS
        self.transform, self.size = transform, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int, int]:
        with Image.open(self.paths[index]) as photo:
            photo = photo.convert("RGB").resize((self.size, self.size), Image.Resampling.BILINEAR)
        return self.transform(photo), index, int(self.labels[index])


def split_rows(
    root: str | Path, val_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the list for training, validation and the test, a tenth of each class.

    jaxvit.data makes the same split.
    """
    names = (Path(root) / "jpg" / "files.txt").read_text().split()
    labels = np.arange(len(names)) // PER_CLASS
    kept, test = stratified_split(labels, names, TEST_FRACTION, seed)
    inner = stratified_split(labels[kept], [names[row] for row in kept], val_fraction, seed)
    train, val = (kept[rows] for rows in inner)
    return train, val, test
