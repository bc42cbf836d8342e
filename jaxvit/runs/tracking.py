"""Where a run's values go beside its directory: to trackers, none of which can end the run."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jaxvit.config import Config
from jaxvit.errors import UserError
from jaxvit.runs.trackers.tensorboard import TensorBoard
from jaxvit.runs.trackers.wandb import WeightsAndBiases


class Tracker(Protocol):
    """Takes what a run measures. Whatever a function raises turns this tracker off, and no more."""

    note: str | None  # said once it has begun

    def log(self, line: dict[str, float]) -> None:
        """A line of metrics.jsonl: "step", "epoch", and metrics by their names there."""

    def show(self, step: int, sketches: dict[str, np.ndarray]) -> None:
        """uint8 images (N, H, W, C) of a validation, by name."""

    def report(self, summary: dict[str, Any], pictures: list[Path]) -> None:
        """What summary.json holds, and the pictures of the report; after the last line."""

    def close(self, finished: bool) -> None:
        """Writes what is left. finished: whether the run has its report."""


class Trackers:
    """Every tracker of a run. One that raises is named in one line, and is off from there on.

    Of many processes only the one that writes may begin; without it, nothing is handed on.

    Args:
      config: of the run; `track` says which.
      path: of the run directory.
      say: prints a line.
    """

    def __init__(self, config: Config, path: Path, say: Callable[[str], None]):
        self._config, self._path, self._say = config, path, say
        self._on: dict[str, Tracker] = {}

    def begin(self, lines: list[dict[str, float]]) -> None:
        """Opens all, in the run directory, which is there.

        Args:
          lines: of metrics.jsonl, where a run is resumed: those of steps that are not taken again.

        Raises:
          UserError: what was asked for cannot work, and the user can correct it.
        """
        kinds = {"TensorBoard": TensorBoard}
        if self._config.track.wandb:
            kinds["Weights & Biases"] = WeightsAndBiases
        for name, kind in kinds.items():
            with self._surviving(name):
                self._on[name] = kind(self._config, self._path, lines)
                if note := self._on[name].note:
                    self._say(f"{name}: {note}")

    def log(self, line: dict[str, float]) -> None:
        """Hands on a line of metrics.jsonl."""
        for name, tracker in list(self._on.items()):
            with self._surviving(name):
                tracker.log(line)

    def show(self, step: int, sketches: dict[str, np.ndarray]) -> None:
        """Hands on images of a validation."""
        for name, tracker in list(self._on.items()):
            with self._surviving(name):
                tracker.show(step, sketches)

    def report(self, summary: dict[str, Any], pictures: list[Path]) -> None:
        """Hands on what summary.json holds, and the report's pictures."""
        for name, tracker in list(self._on.items()):
            with self._surviving(name):
                tracker.report(summary, pictures)

    def close(self, finished: bool) -> None:
        """Ends all; finished: whether the run has its report."""
        for name, tracker in list(self._on.items()):
            with self._surviving(name):
                del self._on[name]
                tracker.close(finished)

    @contextlib.contextmanager
    def _surviving(self, name: str) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            with contextlib.suppress(Exception):
                if tracker := self._on.pop(name, None):
                    tracker.close(finished=False)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self._say(
                f"warning: {name} failed ({reason}) and is off from here on; training continues, "
                "and metrics.jsonl has every line"
            )
