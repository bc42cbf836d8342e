"""What a source of images hands on: names and labels in a fixed order, pixels on request."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from jaxvit.errors import UserError


class Examples(NamedTuple):
    """Labelled images that are not decoded yet.

    Attributes:
      names: one stable name an example.
      labels: int32 (N,), class indices.
      pixels: (index, img_size) -> uint8 (img_size, img_size, C); safe to call from many threads.
      fingerprint: text that changes when the pixels may have; the key of the cache.
      unreadable: of each image of which it is known beforehand that it cannot be read, why.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    pixels: Callable[[int, int], np.ndarray]
    fingerprint: str
    unreadable: Mapping[int, str] = MappingProxyType({})


class Source(NamedTuple):
    """A data set as it is found: the classes, and the examples of each split it comes with.

    `splits` has at least "train"; "val" and "test" where the source has them. `passed_over` counts
    files that look like images and are not read, by the end of their names.
    """

    class_names: tuple[str, ...]
    splits: dict[str, Examples]
    passed_over: Mapping[str, int] = MappingProxyType({})


def check_labels(examples: Examples, class_names: Sequence[str]) -> None:
    """Refuses labels outside [0, K).

    Raises:
      UserError: naming the first such example.
    """
    bad = np.flatnonzero((examples.labels < 0) | (examples.labels >= len(class_names)))
    if bad.size:
        index = int(bad[0])
        raise UserError(
            f"label {examples.labels[index]} of {examples.names[index]} is out of range: "
            f"there are {len(class_names)} classes, 0 to {len(class_names) - 1}"
        )
