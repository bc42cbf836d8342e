"""What every page says of its origin."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class About(NamedTuple):
    """What the page says besides.

    Attributes:
      title: of the page.
      facts: heading -> rows of (name, value).
      command: that repeats it.
      lines: of metrics.jsonl; none for an evaluation.
      augmented: uint8 image of augmented training examples, or None.
      overlay: what the overlays of the worst errors show.
    """

    title: str
    facts: Mapping[str, Sequence[tuple[str, Any]]]
    command: str
    lines: Sequence[Mapping[str, float]] = ()
    augmented: np.ndarray | None = None
    overlay: str = ""
