"""What a source of images provides: names and labels in a fixed order, pixels on request."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from jaxvit.data.preprocessing import Geometry
from jaxvit.errors import UserError


class Examples(NamedTuple):
    """Labelled images that are not decoded yet.

    Attributes:
      names: one for each example, the same in every run.
      labels: int32 (N,), class indices from 0.
      pixels: (index, geometry) -> uint8 (size, size, C); safe to call from many threads.
      fingerprint: text that changes when the pixels may have changed; part of the cache's key.
      unreadable: index -> reason, for images that are known to be unreadable before decoding.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    pixels: Callable[[int, Geometry], np.ndarray]
    fingerprint: str
    unreadable: Mapping[int, str] = MappingProxyType({})


class Source(NamedTuple):
    """A data set as it is found: the classes, and the examples of each split that it defines.

    Attributes:
      class_names: in the order of the labels.
      splits: "train", and "val" and "test" where the source defines them.
      passed_over: suffix -> number of files with it, such as ".heic": image formats that are not
        decoded here.
    """

    class_names: tuple[str, ...]
    splits: dict[str, Examples]
    passed_over: Mapping[str, int] = MappingProxyType({})


def check_labels(examples: Examples, class_names: Sequence[str]) -> None:
    """Checks that every label lies in [0, K), where K is the number of classes.

    Raises:
      UserError: a label does not; the message names the first such example.
    """
    bad = np.flatnonzero((examples.labels < 0) | (examples.labels >= len(class_names)))
    if bad.size:
        index = int(bad[0])
        raise UserError(
            f"label {examples.labels[index]} of {examples.names[index]} is out of range: "
            f"there are {len(class_names)} classes, 0 to {len(class_names) - 1}"
        )
