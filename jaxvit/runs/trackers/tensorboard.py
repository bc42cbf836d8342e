"""TensorBoard's events: scalars, hyper-parameters, test metrics and pictures."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from jaxvit.config import Config, as_json, flat
from jaxvit.runs.sketches import tiled


class TensorBoard:
    """Events in the run directory, each on disk when the function that writes it returns.

    tensorboardX's SummaryWriter writes in a thread: once that has failed, as on a full disk, it
    waits without end, and after a kill up to two minutes are missing. So its parts are used alone.

    A run that is resumed writes to another file, which has TensorBoard drop the events of the steps
    that are taken again. Hyper-parameters are written as the HParams tab reads them, with the run's
    scalars as its metrics; the test's have the step of the state that was scored.

    Args: see jaxvit.runs.tracking: the configuration, the run directory, and the lines before.

    Raises:
      OSError: of every function: it cannot be written.
    """

    note = None

    def __init__(self, config: Config, path: Path, lines: list[dict[str, float]]):
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog
        from tensorboardX.summary import hparams

        self._writer = EventsWriter(str(path / "events"))
        start = SessionLog(status=SessionLog.START)  # drops what other files have from here on
        self._write(lines[-1]["step"] + 1 if lines else 1, session_log=start)
        options = {
            name: str(value) if isinstance(value, list) else value
            for name, value in flat(as_json(config)).items()
        }
        _, begin, self._end = hparams(options, {})
        self._write(0, summary=begin)
        self._writer.flush()

    def log(self, line: dict[str, float]) -> None:
        """Every metric of the line, at its step."""
        self._scalars({k: v for k, v in line.items() if k not in ("step", "epoch")}, line["step"])
        self._writer.flush()

    def show(self, step: int, sketches: dict[str, np.ndarray]) -> None:
        """Each as one picture of rows of images, under its own name."""
        from tensorboardX.summary import image

        for name, images in sketches.items():
            shown = image(f"val/{name}", tiled(images), dataformats="HWC")
            self._write(step, summary=shown)
        self._writer.flush()

    def report(self, summary: dict[str, Any], pictures: list[Path]) -> None:
        """The test's metrics, every picture, and that the run has ended well."""
        import matplotlib.image
        from tensorboardX.summary import image

        scores = {name: value for name, value in summary.items() if name.startswith("test/")}
        self._scalars(scores, summary["scored_step"])
        for path in pictures:
            pixels = matplotlib.image.imread(path)  # (H, W, 4), floats in [0, 1]
            shown = image(path.stem, pixels[..., :3], dataformats="HWC")
            self._write(summary["steps"], summary=shown)
        self._write(0, summary=self._end)
        self._writer.flush()

    def close(self, finished: bool) -> None:
        """Closes the file; nothing was left to write."""
        self._writer.close()

    def _scalars(self, values: dict[str, float], step: int) -> None:
        from tensorboardX.summary import scalar

        for name, value in values.items():
            self._write(step, summary=scalar(name, value))

    def _write(self, step: int, **what: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=step, **what))
