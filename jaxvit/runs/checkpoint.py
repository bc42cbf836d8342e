"""The states a run keeps: the last few, and the best on the validation split."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from jaxvit.errors import UserError
from jaxvit.runs.saved_items import (
    ITEMS,
    Monitor,
    ignore_late_errors,
    make_rank,
    ranked_steps,
    read_items,
    read_score,
)
from jaxvit.runtime.digest import sha256
from jaxvit.runtime.distributed import check_same, is_main, largest, wait_for_all
from jaxvit.training.state import VERSION, TrainState


class Checkpoints:
    """checkpoints/<step>/ for the last `keep` saves and the best, written in the background.

    A directory appears under its final name only when it is whole: orbax writes beside it and
    renames. Use as a context manager: leaving it waits for the last write.

    Args:
      directory: made if missing.
      monitor: which validation metrics decide on the best state.
      keep: how many of the latest to keep, at least 1; with 2, a damaged newest one costs little.
      warn: told in one line of a checkpoint that is damaged.
      keep_best: how many of the best to keep, at least 1.

    Raises:
      UserError: from any method, when a checkpoint cannot be written, as on a full disk, or was
        written by another version of jaxvit.
    """

    def __init__(
        self,
        directory: Path,
        monitor: Monitor,
        keep: int = 2,
        warn: Callable[[str], None] = print,
        keep_best: int = 1,
    ):
        self._directory = directory.absolute()
        self._warn = warn
        # orbax warns of every unscored save, and logs with their traces the errors it also raises.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        ignore_late_errors()
        self._monitor, self._rank = monitor, make_rank(monitor)
        self._set_aside_unscored()
        best = BestN(get_metric_fn=self._rank, n=keep_best, keep_checkpoints_without_metrics=False)
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=AnyPreservationPolicy([LatestN(keep), best]),
                best_fn=self._rank,
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self._guarded(self._manager.close)

    def wait(self) -> None:
        """Until everything that was saved is on disk."""
        self._guarded(self._manager.wait_until_finished)

    @property
    def latest_step(self) -> int | None:
        """The step of the newest checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, state: TrainState, metrics: dict[str, float] | None = None) -> bool:
        """Copies the state to the host and returns whether it is the best so far.

        The files follow in the background.

        Args:
          state: to keep under its step.
          metrics: of the validation split, where it was just scored; `monitor` says which of them
            decide.
        """
        step = int(state.step)
        # Asked beforehand: a write that fails half-way prints long traces from orbax's threads.
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        free = shutil.disk_usage(self._directory).free
        if largest(int(free < 1.2 * size)):
            raise UserError(
                f"a checkpoint of {size / 1e6:,.1f} MB does not fit under {self._directory}, where "
                f"{free / 1e6:,.1f} MB are free: make room and run the same command again; it "
                "resumes from the last whole checkpoint"
            )
        items = {name: tree for name in ITEMS if has_leaves(tree := getattr(state, name))}
        digests = {name: sha256(tree) for name, tree in items.items()}
        seal = {"version": VERSION, "step": step, "sha256": digests}
        arguments = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
        composite = ocp.args.Composite(seal=ocp.args.JsonSave(seal), **arguments)
        self._guarded(self._manager.save, step, args=composite, metrics=metrics, force=True)
        return metrics is not None and self._manager.best_step() == step

    def restore_latest(self, like: TrainState) -> TrainState | None:
        """The newest state that is whole, or None; damaged ones are moved to `damaged/`.

        Args:
          like: a state of the same shapes, placed as the restored one is to be.
        """
        return self._first_whole(sorted(self._manager.all_steps(), reverse=True), like, clear=True)

    def restore_best(self, like: TrainState) -> TrainState:
        """The state that ranks highest of those that are whole: see ranked_steps.

        Raises:
          UserError: none is whole.
        """
        self.wait()
        steps = ranked_steps(self._directory, self._monitor)
        check_same({"checkpoints": steps})  # each process reads its part of the same state
        found = self._first_whole(steps, like, clear=False)
        if found is None:
            raise UserError(f"no checkpoint under {self._directory} is whole: run it again")
        return found

    def _first_whole(self, steps: list[int], like: TrainState, clear: bool) -> TrainState | None:
        for step in steps:
            path, state, reason = self._directory / str(step), None, "seen by another process"
            try:
                state = _read_state(path, like)
            except UserError:
                raise
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
        """A checkpoint whose score is damaged: orbax reads all scores before any is asked for."""
        # One process looks: another might read a file while it is moved.
        for path in sorted(self._directory.glob("[0-9]*/metrics/metrics")) if is_main() else ():
            if read_score(path, self._rank) is None:
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
                f"a checkpoint under {self._directory} could not be written ({reason}): correct "
                "that and run the same command again; it resumes from the last whole checkpoint"
            ) from error


def _read_state(path: Path, like: TrainState) -> TrainState:
    """The whole state, as NumPy arrays, in this process alone.

    Each process reads and verifies all of it, so that they can agree on it before they place it:
    in orbax's own restore they wait for each other, and one that fails leaves the others waiting.
    """
    likes = {name: tree for name in ITEMS if has_leaves(tree := getattr(like, name))}
    items = read_items(path, likes)
    if missing := likes.keys() - items.keys():
        raise ValueError(f"it has no {min(missing)}")
    return like._replace(step=np.int32(path.name), **items)


def _place(state: TrainState, like: TrainState) -> TrainState:
    """Host arrays, the same in every process, to where `like` has its own."""
    return jax.tree.map(
        lambda array, leaf: jax.make_array_from_callback(
            array.shape, leaf.sharding, lambda index: array[index]
        ),
        state,
        like,
    )


def has_leaves(tree: Any) -> bool:
    """Whether there is any array in it; orbax saves no empty tree."""
    return bool(jax.tree.leaves(tree))
