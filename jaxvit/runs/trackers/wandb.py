"""Weights & Biases: configuration, every line of metrics, the summary and the pictures."""

import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from jaxvit.config import Config, as_json
from jaxvit.errors import UserError
from jaxvit.runs.sketches import read_sketches, tiled

UPLOAD_SEC = 300  # that an online run waits at its end; "wandb sync" uploads what is left


class WeightsAndBiases:
    """A run of wandb, with the run's steps, in OUT/wandb. Resuming continues the same run there.

    A step has one row, also where it is both logged and validated. Lines from `starting_step` on
    are handed over again when a run is resumed: online that is the first step that the server does
    not have; offline it is 0, and the new files replace those of the sessions before, which lack
    what wandb had not yet written where they were killed. Files that were uploaded already stay,
    and new ones begin with the steps that follow.

    Args: see jaxvit.runs.tracking: the configuration, the run directory, and the lines before.

    Raises:
      UserError: on creation: online, and nobody has logged in.
    """

    def __init__(self, config: Config, path: Path, lines: list[dict[str, float]]):
        import wandb

        online = config.track.wandb == "online"
        if online and not wandb.login(prompt=False, verify=False):
            raise UserError(
                "--track.wandb online needs an account's key: run wandb login once, set "
                "WANDB_API_KEY, or give --track.wandb offline"
            )
        root = path / "wandb"
        root.mkdir(exist_ok=True)
        known = root / "id"
        if not known.exists():
            known.write_text(secrets.token_hex(4))
        earlier = list(root.glob("offline-run-*"))
        self._run = wandb.init(
            project=config.track.wandb_project,
            name=path.name,
            id=known.read_text(),
            resume="allow",
            config=as_json(config),
            allow_val_change=True,
            dir=path,
            mode=config.track.wandb,
            settings=wandb.Settings(silent=True, console="off", finish_timeout=UPLOAD_SEC),
        )
        self._first = self._run.starting_step
        self.note = self._run.url if online else f"when the run has ended: wandb sync {root}"
        if not online and any(next(old.glob("*.synced"), None) for old in earlier):
            earlier, self._first = [], lines[-1]["step"] + 1 if lines else 0
        sketches = read_sketches(path, {line["step"] for line in lines})
        shown = {step: {} for each in sketches.values() for step, _ in each}
        for name, each in sketches.items():
            for step, images in each:
                shown[step][name] = images
        for line in lines:
            self.log(line)
            if line["step"] in shown:
                self.show(line["step"], shown.pop(line["step"]))
        if not online:
            for old in earlier:
                shutil.rmtree(old)

    def log(self, line: dict[str, float]) -> None:
        """The line as a row of its step; lines of one step share the row."""
        step = line["step"]
        if step >= self._first:
            self._run.log(
                {name: value for name, value in line.items() if name != "step"}, step=step
            )

    def show(self, step: int, sketches: dict[str, np.ndarray]) -> None:
        """Each as one picture of rows of images, in the row of its step."""
        import wandb

        if step < self._first:
            return
        tiles = {f"val/{name}": tiled(images).squeeze() for name, images in sketches.items()}
        self._run.log({name: wandb.Image(each) for name, each in tiles.items()}, step=step)

    def report(self, summary: dict[str, Any], pictures: list[Path]) -> None:
        """The summary, and the pictures in the last step's row."""
        import wandb

        self._run.log({f"plots/{path.stem}": wandb.Image(str(path)) for path in pictures})
        self._run.summary.update(summary)

    def close(self, finished: bool) -> None:
        """Writes and uploads what is left; a run without its report has failed there."""
        import wandb

        self._run.finish(exit_code=0 if finished else 1)
        wandb.teardown()  # waits until the file is written, which finish does not
