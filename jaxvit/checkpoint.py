"""The states a run keeps: the last few, and the best on the validation split."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from jaxvit.config import UserError
from jaxvit.distributed import is_main, largest, wait_for_all
from jaxvit.state import TrainState, sha256


def rank(metrics: dict[str, float]) -> tuple[float, float]:
    """What makes a state the best: the highest validation accuracy; of equals, the lowest loss.

    On a small split many epochs tie, and the first of them is rarely the best trained.
    """
    return metrics["val/accuracy"], -metrics["val/loss"]


class Checkpoints:
    """checkpoints/<step>/ for the last `keep` saves and the best, written in the background.

    A directory appears under its final name only when it is whole (orbax writes beside it and
    renames), and carries a SHA-256 of the state, which is compared when it is read. Use as a
    context manager: leaving it waits for the last write.

    Args:
      directory: made if missing.
      keep: how many of the latest to keep, at least 1; with 2, a damaged newest one costs little.
      warn: told in one line of a checkpoint that is damaged.

    Raises:
      UserError: from any method, when a checkpoint cannot be written, as on a full disk.
    """

    def __init__(self, directory: Path, keep: int = 2, warn: Callable[[str], None] = print):
        self._directory = directory.absolute()
        self._warn = warn
        # orbax warns of every unscored save, and logs with their traces the errors it also raises.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self._set_aside_unscored()
        best = BestN(get_metric_fn=rank, n=1, keep_checkpoints_without_metrics=False)
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=AnyPreservationPolicy([LatestN(keep), best]),
                best_fn=rank,
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self._guarded(self._manager.close)

    def save(self, state: TrainState, metrics: dict[str, float] | None = None) -> bool:
        """Copies the state to the host and returns whether it is the best so far.

        The files follow in the background.

        Args:
          state: to keep under its step.
          metrics: of the validation split, where it was just scored; `rank` of them decides which
            state is best.
        """
        step = int(state.step)
        # Asked beforehand, for a write that fails half-way is a long complaint in orbax's threads.
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        free = shutil.disk_usage(self._directory).free
        if largest(int(free < 1.2 * size)):
            raise UserError(
                f"a checkpoint of {size / 1e6:,.1f} MB does not fit under {self._directory}, where "
                f"{free / 1e6:,.1f} MB are free: make room and run the same command again; it goes "
                "on from the last whole one"
            )
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            seal=ocp.args.JsonSave({"sha256": sha256(state)}),
        )
        self._guarded(self._manager.save, step, args=items, metrics=metrics, force=True)
        return metrics is not None and self._manager.best_step() == step

    def restore_latest(self, like: TrainState) -> TrainState | None:
        """The newest state that is whole, or None; damaged ones are moved to `damaged/`.

        Args:
          like: a state of the same shapes, placed as the restored one is to be.
        """
        return self._first_whole(sorted(self._manager.all_steps(), reverse=True), like, clear=True)

    def restore_best(self, like: TrainState) -> TrainState:
        """The state that ranks highest, or, should it be damaged, the newest that is whole.

        Raises:
          UserError: none is whole.
        """
        self._guarded(self._manager.wait_until_finished)
        best = self._manager.best_step()
        others = sorted(set(self._manager.all_steps()) - {best}, reverse=True)
        found = self._first_whole([best, *others], like, clear=False)
        if found is None:
            raise UserError(f"no checkpoint under {self._directory} is whole: run it again")
        return found

    def _first_whole(self, steps: list[int], like: TrainState, clear: bool) -> TrainState | None:
        for step in steps:
            path, state, reason = self._directory / str(step), None, "seen by another process"
            try:
                state = _read(path, like)
            except PermissionError as error:  # whole, perhaps: nothing to set aside
                raise UserError(
                    f"checkpoint {path} cannot be opened ({error.strerror}): make it readable"
                ) from error
            except Exception as error:  # whatever a reader may meet in bytes that are not its own
                reason = " ".join(str(error).split())[:200]
            if not largest(int(state is None)):  # every process has read all of it
                return _place(state, like)
            self._warn(f"checkpoint {path} is damaged and not used ({reason})")
            if clear:
                self._set_aside(path)
                wait_for_all("a damaged checkpoint is set aside")
                self._manager.reload()
        return None

    def _set_aside_unscored(self) -> None:
        """A checkpoint whose score is damaged, for orbax reads them all before any is asked for."""
        # One process looks: another might read a file while it is moved.
        for path in sorted(self._directory.glob("[0-9]*/metrics/metrics")) if is_main() else ():
            try:
                rank(json.loads(path.read_text()))
            except (ValueError, KeyError, TypeError):
                step = path.parent.parent
                self._warn(f"checkpoint {step} is damaged and not used (its score is unreadable)")
                self._set_aside(step)
        wait_for_all("checkpoints with damaged scores are set aside")

    def _set_aside(self, path: Path) -> None:
        """Out of the way of the checkpoint that will be written at the same step."""
        if is_main():
            damaged = self._directory.parent / "damaged"
            damaged.mkdir(exist_ok=True)
            shutil.rmtree(damaged / path.name, ignore_errors=True)
            path.rename(damaged / path.name)

    def _guarded(self, call: Callable, *args, **kwargs) -> None:
        try:
            call(*args, **kwargs)
        except Exception as error:  # orbax passes on what its storage layer met
            # "... file "PATH": failed writing: "PATH": the cause": the cause is what helps.
            reason = " ".join(str(error).split()).rpartition('": ')[-1][:200]
            raise UserError(
                f"a checkpoint under {self._directory} could not be written ({reason}): mend that "
                "and run the same command again; it goes on from the last whole one"
            ) from error


def _read(path: Path, like: TrainState) -> TrainState:
    """The whole state, as NumPy arrays, in this process alone.

    Each process reads and verifies all of it, so that they can agree on it before they place it:
    in orbax's own restore they wait for each other, and one that fails leaves the others waiting.

    Raises:
      Exception: of any kind; it cannot be read, or its bytes are not those that were saved.
    """
    shapes = jax.tree.map(lambda leaf: np.broadcast_to(leaf.dtype.type(0), leaf.shape), like)
    state = ocp.StandardCheckpointHandler().restore(
        path / "state", args=ocp.args.StandardRestore(shapes)
    )
    seal = ocp.JsonCheckpointHandler().restore(path / "seal")
    if sha256(state) != seal["sha256"]:
        raise ValueError("its bytes are not those that were saved")
    return state


def _place(state: TrainState, like: TrainState) -> TrainState:
    """Host arrays, the same in every process, to where `like` has its own."""
    return jax.tree.map(
        lambda array, leaf: jax.make_array_from_callback(
            array.shape, leaf.sharding, lambda index: array[index]
        ),
        state,
        like,
    )
