"""Decoded images: splits, and the data set of three."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

SPLITS = ("train", "val", "test")
NO_CHECKSUMS = np.empty(0, np.uint32)


@dataclass(frozen=True)
class Stacked:
    """Images of two arrays, one behind the other, uint8 (M, H, W, C) each."""

    first: "np.ndarray | Stacked"
    second: np.ndarray

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        later = rows >= len(self.first)
        found = self.first[np.where(later, 0, rows)]
        found[later] = self.second[rows[later] - len(self.first)]
        return found


@dataclass(frozen=True)
class Split:
    """Decoded examples: some rows of a memory-mapped array, which splits may share."""

    pixels: np.ndarray | Stacked  # uint8 (M, H, W, C)
    rows: np.ndarray  # (N,), indices into pixels
    labels: np.ndarray  # int32 (N,)
    names: tuple[str, ...]
    # (N,), of each example's pixels; or empty
    crc32: np.ndarray = field(default_factory=NO_CHECKSUMS.copy)
    features: np.ndarray | None = None  # float32 (N, F), which batches then hold for the images

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: np.ndarray, with_index: bool = False) -> dict[str, np.ndarray]:
        """A batch on the host: {"image": uint8 (B, H, W, C), "label": int32 (B,)}.

        A split with features gives "features", float32 (B, F), instead of "image".

        Args:
          indices: (B,), positions in this split, from 0.
          with_index: whether the batch also holds them, as "index", int32 (B,).
        """
        batch = {"label": self.labels[indices]}
        if self.features is None:
            batch["image"] = self.images(indices)
        else:
            batch["features"] = self.features[indices]
        return batch | {"index": np.asarray(indices, np.int32)} if with_index else batch

    def images(self, indices: np.ndarray) -> np.ndarray:
        """The pixels of examples, uint8 (B, H, W, C)."""
        return self.pixels[self.rows[indices]]


class Dataset(NamedTuple):
    """Three splits that share no example, and the names of the K classes.

    Attributes:
      class_names: in the order of the labels.
      train, val, test: the splits.
      skipped: for each image that was left out, one line that says why it cannot be read.
      passed_over: suffix -> number of files with it, such as ".heic": image formats that are not
        decoded here.
      extra: training images, the last ones, that are of config.extra_dir.
    """

    class_names: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    skipped: tuple[str, ...] = ()
    passed_over: Mapping[str, int] = MappingProxyType({})
    extra: int = 0


def describe(dataset: Dataset) -> dict[str, list[str] | dict[str, str]]:
    """The classes, the examples of every split and the images that were left out.

    A run saves this as split.json, and compares it when it is resumed. Each split is described by
    name -> CRC-32 of the pixels in hexadecimal, in order. Generated images are named extra/..., and
    counted.
    """

    def examples(split: Split) -> dict[str, str]:
        return {name: f"{crc:08x}" for name, crc in zip(split.names, split.crc32, strict=True)}

    extra = {"extra_images": dataset.extra} if dataset.extra else {}
    return {
        "class_names": list(dataset.class_names),
        "train": examples(dataset.train),
        "val": examples(dataset.val),
        "test": examples(dataset.test),
        "skipped": list(dataset.skipped),
        **extra,
    }
