"""The run directory: what was asked, what was measured, and where it ran."""

import contextlib
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from filelock import FileLock, Timeout

from jaxvit.cleanup import removed_later, removed_on_exit, staging_of, whole_file
from jaxvit.config import Config, as_json
from jaxvit.errors import UserError
from jaxvit.paths import user_path
from jaxvit.runs.comparison import (
    differences_of,
    first_difference,
    list_differences,
    read_run_config,
    weights_of,
)
from jaxvit.runs.sketches import FOLDER
from jaxvit.runtime.distributed import wait_for_all

OUTPUTS = "test_outputs.npz"
OF_EXTENSION = ("stop.patience", "stop.min_delta")  # may differ from those of the run to extend
TENSORS = "weights.txt"
MADE_BY_A_RUN = {
    "config.json",
    "split.json",
    "metrics.jsonl",
    "summary.json",
    "extended.json",
    "checkpoints",
    "damaged",
    "plots",
    "report.html",
    OUTPUTS,
    TENSORS,
    "wandb",
    FOLDER,
}


class RunDirectory:
    """runs/<name>/: config.json, metrics.jsonl, summary.json, plots/.

    Use as a context manager: while it is entered, no other process can enter the same directory.
    Entering only looks; nothing is written, and nothing replaced, before `open`. So a run that
    fails on its data leaves an older one alone. A directory that holds an unfinished run (one
    without a summary.json) of the same configuration is resumed.

    Args:
      config: `out`, `overwrite` and `resume` say where and whether.
      writes: False in all processes of a run but one; they only read.

    Attributes:
      resumes: whether a run is there to be resumed.
      extends: whether it is a finished one, which is given more epochs.
      facts: those of the Task of the run to be resumed; see jaxvit.training.task.
      began: when it was entered, by time.perf_counter.

    Raises:
      UserError: on entering: another run is in `out`; or it holds a finished run, or one of another
        configuration, and overwrite is not set; or it holds anything else; or cannot be written;
        or resume is set and nothing is there.
    """

    def __init__(self, config: Config, writes: bool = True):
        path = user_path("out", config.out).resolve()
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.plots = path / "plots"
        self.resumes = self.extends = False
        self.facts: dict[str, Any] = {}
        self._config = config
        self._writes = writes
        self._lock = _lock_of(path)

    def __enter__(self) -> "RunDirectory":
        self.began = time.perf_counter()
        with contextlib.ExitStack() as stack:
            if self._writes:
                with removed_later():
                    self._take()
                    stack.callback(self._leave)
                    stack.enter_context(removed_on_exit(Path(self._lock.lock_file)))
            self._look()
            wait_for_all("every process has looked at the run directory")  # before one writes
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *_) -> None:
        self._exit.close()

    def _take(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise UserError(
                f"--out {self.path} is in use by a run that has not ended: wait for it, or choose "
                "another name"
            ) from error
        except OSError as error:
            raise self._unwritable(error) from error

    def _leave(self) -> None:
        if self._lock.is_locked:
            Path(self._lock.lock_file).unlink(missing_ok=True)  # while it is still ours
            self._lock.release()

    def _unwritable(self, error: OSError) -> UserError:
        reason = error.strerror or error
        return UserError(f"--out {self.path} cannot be written ({reason}): choose another place")

    def _refuse_strangers(self) -> None:
        names = (p.name for p in self.path.iterdir()) if self.path.is_dir() else ()
        strangers = sorted(name for name in names if not _made_by_a_run(name))
        if strangers:
            raise UserError(
                f"--out {self.path} holds {strangers[0]!r}, which no run has made: move it away, "
                "or choose another name"
            )

    def _look(self) -> None:
        path, config = self.path, self._config
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            written = read_run_config(path)
            if written is None:
                raise UserError(
                    f"--out {path} exists and is not a run directory: choose another name"
                )
            self._refuse_strangers()
            if not config.overwrite:
                self._check_same(written)
                self.resumes, self.facts = True, _read_facts(path)
        elif config.resume or config.extend:
            option = "resume" if config.resume else "extend"
            raise UserError(f"--{option}: --out {path} holds no run to continue")
        nearest = path if path.exists() else path.parent
        if self._writes and not os.access(nearest, os.W_OK):
            raise UserError(f"--out {path} cannot be written: choose another place")

    def _check_same(self, written: dict) -> None:
        differ = differences_of(written, self._config)
        finished = self._finished(written["epochs"])
        if self._config.extend and self._averaged():
            raise UserError(
                f"--extend: the run in --out {self.path} is an average, which has no state of an "
                f"optimiser to resume from: train from it with --init.weights {self.path} and "
                "another --out"
            )
        self.extends = self._config.extend and "epochs" in differ
        if self.extends:
            before, now = differ.pop("epochs")
            if not finished:
                raise UserError(
                    f"--extend: the run in --out {self.path} is not finished: let the same command "
                    f"with --epochs {before} resume it first"
                )
            if now < before:
                raise UserError(
                    f"--extend: --epochs {now} is below the {before} that the "
                    f"run in --out {self.path} has had: give a larger number"
                )
            differ = {name: both for name, both in differ.items() if name not in OF_EXTENSION}
        elif finished:
            raise UserError(
                f"--out {self.path} already holds a run, which is finished: choose another name, "
                "replace it with --overwrite, or give it more epochs with --extend --epochs N"
            )
        if differ:
            raise UserError(
                f"--out {self.path} already holds a run of another configuration "
                f"({list_differences(differ)}): choose another name, or replace it with --overwrite"
            )

    def _finished(self, epochs: int) -> bool:
        """Whether summary.json is of a run of so many epochs, not of one that was given more."""
        try:
            summary = json.loads((self.path / "summary.json").read_text())
            return summary.get("epochs", epochs) == epochs
        except FileNotFoundError:
            return False
        except (OSError, ValueError, AttributeError):
            return True  # damaged, but a run wrote it

    def _averaged(self) -> bool:
        """Whether python -m jaxvit average made it."""
        try:
            return "averaged" in json.loads((self.path / "summary.json").read_text())
        except (OSError, ValueError, TypeError):
            return False

    def open(self, split: dict[str, Any], tensors: str | None = None) -> None:
        """Makes the directory, or checks that the run to resume was made of the same data.

        It appears with its config.json and split.json in it or not at all.

        Args:
          split: of data.decoded.describe, and "pretrained_sha256" and "facts" of the Task.
          tensors: what became of those of the weights that it begins with, for TENSORS.

        Raises:
          UserError: it cannot be written, or the data has changed since the run began.
        """
        if self.resumes:
            path = self.path / "split.json"
            try:
                before = json.loads(path.read_text())
            except (OSError, ValueError) as error:
                raise UserError(
                    f"{path} cannot be read ({error}): restore it, or start again with --overwrite"
                ) from error
            if weights_of(before) != weights_of(split):
                raise UserError(
                    "--init.weights: the weights are not those that the run in "
                    f"{self.path} began with: restore them, or start again with --overwrite"
                )
            difference = first_difference(before, split)
            if difference is not None:
                raise UserError(
                    f"the images are not those that the run in {self.path} began with "
                    f"({difference}): restore them, or start again with --overwrite"
                )
            if self._writes and "facts" not in before:  # a run that an older version began
                _replace(path, json.dumps(before | {"facts": split["facts"]}, indent=1))
            if self.extends and self._writes:
                self._extend()
            return
        if not self._writes:
            return
        staging = staging_of(self.path)
        old = staging.with_suffix(".old")
        try:
            self._refuse_strangers()  # what has come since _look
            with removed_on_exit(staging):
                with removed_later():
                    (staging / "plots").mkdir(parents=True)
                (staging / "config.json").write_text(json.dumps(as_json(self._config), indent=1))
                (staging / "split.json").write_text(json.dumps(split, indent=1))
                if tensors is not None:
                    (staging / TENSORS).write_text(tensors + "\n", encoding="utf-8")
                with removed_later():
                    self._exchange(staging, old)
            with removed_on_exit(old):
                shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _exchange(self, staging: Path, old: Path) -> None:
        """Puts `staging` in the place of what is at `path`, which becomes `old`."""
        if self.path.exists():
            self.path.rename(old)
        try:
            staging.rename(self.path)
        except OSError:
            if old.exists():
                old.rename(self.path)
            raise

    def _extend(self) -> None:
        """Makes the finished run an unfinished one of more epochs, and lists what it had."""
        before = json.loads((self.path / "config.json").read_text())["epochs"]
        numbers = list(dict.fromkeys([*self.extended_from(), before]))
        _replace(self.path / "extended.json", json.dumps(numbers))
        _replace(self.path / "config.json", json.dumps(as_json(self._config), indent=1))
        # What it had reached stays on record, also where the extension is never finished.
        summary = self.path / "summary.json"
        summary.rename(self.path / f"summary-{before}-epochs.json")

    def extended_from(self) -> list[int]:
        """The numbers of epochs that this run was finished with before it was given more."""
        path = self.path / "extended.json"
        try:
            return [int(epochs) for epochs in json.loads(path.read_text())]
        except (OSError, ValueError, TypeError):  # there is none, or it is damaged
            return []

    def rewind(self, step: int) -> None:
        """Drops the lines of metrics.jsonl about later steps: they are about to be taken again."""
        if not self._writes:
            return
        kept = [json.dumps(line) + "\n" for line in self.read_metrics() if line["step"] <= step]
        _replace(self.path / "metrics.jsonl", "".join(kept))

    def log(self, step: int, epoch: int, metrics: dict[str, float]) -> None:
        """Adds a line to metrics.jsonl."""
        if not self._writes:
            return
        line = json.dumps({"step": step, "epoch": epoch} | metrics)
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(line + "\n")

    def read_metrics(self) -> list[dict[str, float]]:
        """The lines of metrics.jsonl; what is not one, as after a crash, is left out."""
        return read_metrics(self.path)

    def write_outputs(self, evaluation: Any) -> None:
        """test_outputs.npz: counts/NAME, and outputs/NAME with a row for each test image.

        Args:
          evaluation: of the test split, as the summary reports it.
        """
        parts = {"outputs": evaluation.outputs, "counts": evaluation.counts}
        arrays = {
            jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
            for path, leaf in jax.tree.leaves_with_path(parts)
        }
        with whole_file(self.path / OUTPUTS) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **arrays)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """The last thing a run writes: its presence says that the run is finished."""
        _replace(self.path / "summary.json", json.dumps(summary, indent=1) + "\n")


def read_metrics(run: Path) -> list[dict[str, float]]:
    """The lines of a run's metrics.jsonl; what is not one, as after a crash, is left out."""
    path = run / "metrics.jsonl"
    lines = []
    text = path.read_text(errors="replace") if path.exists() else ""
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            lines.append(json.loads(line))
    return [x for x in lines if isinstance(x, dict) and isinstance(x.get("step"), int)]


def is_in_use(path: Path) -> bool:
    """Whether a process is training in a run directory now."""
    lock = _lock_of(path.resolve())
    if not Path(lock.lock_file).exists():  # acquiring would make it
        return False
    try:
        with lock:
            return False
    except Timeout:
        return True


def _lock_of(path: Path) -> FileLock:
    """Beside the directory, which comes and goes."""
    return FileLock(path.with_name(f".{path.name}.lock"), blocking=False)


def _replace(path: Path, text: str) -> None:
    """Writes a file that is there whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text)


def _read_facts(run: Path) -> dict[str, Any]:
    """Of split.json; {} where an older version wrote it, or where it is damaged: see `open`."""
    try:
        return dict(json.loads((run / "split.json").read_text()).get("facts", {}))
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _made_by_a_run(name: str) -> bool:
    if re.fullmatch(r"summary-\d+-epochs\.json", name):
        return True
    whole = name.removeprefix(".").partition(".partial")[0]  # of what cleanup.whole_file leaves
    return whole in MADE_BY_A_RUN or name.startswith("events.out.tfevents.")
