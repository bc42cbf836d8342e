"""The run directory: what was asked, what was measured, and where it ran."""

import contextlib
import dataclasses
import json
import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

from jaxvit.config import Config, UserError

VERSIONED = ("jaxvit", "jax", "jaxlib", "flax", "optax", "numpy", "grain", "orbax-checkpoint")


class RunDirectory:
    """runs/<name>/: config.json, metrics.jsonl, summary.json, TensorBoard events, plots/.

    Making the object only checks that the place is free; nothing is written, and nothing
    replaced, before `create`. So a run that fails on its data leaves an older one alone.

    Args:
      path: of the directory; need not exist.
      overwrite: allow `create` to remove a run that is already there.

    Raises:
      UserError: path holds a run and overwrite is not set, or it holds anything else.
    """

    def __init__(self, path: Path, overwrite: bool):
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            if not _is_run(path):
                raise UserError(
                    f"--out {path} exists and is not a run directory: choose another name"
                )
            if not overwrite:
                raise UserError(
                    f"--out {path} already holds a run: choose another name, or replace it with "
                    "--overwrite"
                )
        parent = path.absolute()
        while not parent.exists():
            parent = parent.parent
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise UserError(f"--out {path} cannot be written: choose another place")
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.plots = path / "plots"
        self._events = None

    def create(self, config: Config) -> None:
        """Makes the directory, in place of the run it held if there was one.

        Raises:
          UserError: it cannot be written.
        """
        try:
            if self.path.exists():
                shutil.rmtree(self.path)
            self.plots.mkdir(parents=True)
        except OSError as error:
            raise UserError(
                f"--out {self.path} cannot be written ({error.strerror}): choose another place"
            ) from error
        (self.path / "config.json").write_text(
            json.dumps(dataclasses.asdict(config), indent=1) + "\n"
        )

    def log(self, step: int, epoch: int, metrics: dict[str, float]) -> None:
        """Adds a line to metrics.jsonl and the same scalars to the TensorBoard events."""
        line = json.dumps({"step": step, "epoch": epoch} | metrics)
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(line + "\n")
        for name, value in metrics.items():
            self.events.add_scalar(name, value, step)

    def read_metrics(self) -> list[dict[str, float]]:
        """The lines of metrics.jsonl."""
        lines = (self.path / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def write_summary(self, summary: dict[str, Any]) -> None:
        (self.path / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")

    def add_plots(self, step: int) -> None:
        """Copies every picture in plots/ to the TensorBoard events."""
        import matplotlib.image

        for path in sorted(self.plots.glob("*.png")):
            pixels = matplotlib.image.imread(path)  # (H, W, 4), floats in [0, 1]
            self.events.add_image(path.stem, pixels[..., :3], step, dataformats="HWC")

    @property
    def events(self):
        if self._events is None:
            from tensorboardX import SummaryWriter

            self._events = SummaryWriter(logdir=str(self.path))
        return self._events

    def close(self) -> None:
        if self._events is not None:
            self._events.close()


def _is_run(path: Path) -> bool:
    """Whether one of our own runs made the directory: many programs write a config.json."""
    try:
        written = json.loads((path / "config.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(written, dict) and {f.name for f in dataclasses.fields(Config)} <= set(
        written
    )


def describe_machine() -> dict[str, Any]:
    """The devices and the versions that a figure has to be quoted with."""
    devices = jax.devices()
    return {
        "device": {
            "platform": devices[0].platform,
            "kind": devices[0].device_kind,
            "count": len(devices),
        },
        "versions": {"python": platform.python_version()} | dict(_installed_versions()),
    }


def _installed_versions() -> Iterator[tuple[str, str]]:
    for name in VERSIONED:
        with contextlib.suppress(PackageNotFoundError):  # jaxvit itself may run from its tree
            yield name, version(name)
