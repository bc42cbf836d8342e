"""The states a run keeps: the last few, and the best on the validation split.

checkpoints/<step>/ holds one item for each field of the state (`params`, `extra`, `opt_state`,
`averages`) and a `seal`: the version of the state's layout and a SHA-256 of every item, which is
compared when it is read. So parameters can be read without an optimiser and without a writer.
"""

import contextlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from jaxvit.errors import UserError
from jaxvit.runtime.digest import sha256
from jaxvit.runtime.distributed import is_main, largest, wait_for_all
from jaxvit.training.state import VERSION, TrainState

Monitor = tuple[tuple[str, bool], ...]  # see jaxvit.training.task.Task
ITEMS = ("params", "extra", "opt_state", "averages")  # of a TrainState, beside its step
PARAMS_AND_EXTRA = {"params": None, "extra": None}


def make_rank(monitor: Monitor) -> Callable[[dict[str, float]], tuple[float, ...]]:
    """Validation metrics -> what is largest for the best state.

    The first metric of `monitor` decides, and the next break ties: on a small split many epochs
    tie, and the first of them is rarely the best trained.
    """

    def rank(metrics: dict[str, float]) -> tuple[float, ...]:
        values = ((metrics[f"val/{name}"], rises) for name, rises in monitor)
        return tuple(value if rises else -value for value, rises in values)

    return rank


class Checkpoints:
    """checkpoints/<step>/ for the last `keep` saves and the best, written in the background.

    A directory appears under its final name only when it is whole: orbax writes beside it and
    renames. Use as a context manager: leaving it waits for the last write.

    Args:
      directory: made if missing.
      monitor: which validation metrics decide on the best state.
      keep: how many of the latest to keep, at least 1; with 2, a damaged newest one costs little.
      warn: told in one line of a checkpoint that is damaged.

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
    ):
        self._directory = directory.absolute()
        self._warn = warn
        # orbax warns of every unscored save, and logs with their traces the errors it also raises.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self._rank = make_rank(monitor)
        self._set_aside_unscored()
        best = BestN(get_metric_fn=self._rank, n=1, keep_checkpoints_without_metrics=False)
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
        """The state that ranks highest; should it be damaged, the newest that is whole.

        Raises:
          UserError: none is whole.
        """
        self.wait()
        best = self._manager.best_step()
        others = sorted(set(self._manager.all_steps()) - {best}, reverse=True)
        steps = others if best is None else [best, *others]
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
            if _score(path, self._rank) is None:
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


def read_weights(
    directory: Path, monitor: Monitor | None, warn: Callable[[str], None]
) -> tuple[int, Any]:
    """The step and the weights of the best or newest whole checkpoint, read without a writer.

    The weights are the running average where there is one, otherwise {"params": ..., "extra": ...}
    with what the state has of these. Nothing is written, and nothing moved.

    Args:
      directory: checkpoints/ of a run.
      monitor: which validation metrics decide on the best state; scored checkpoints come before
        unscored ones, and of these the newest first. None for the newest, whatever its score.
      warn: told in one line of a checkpoint that is damaged.

    Raises:
      UserError: none is whole, or one was written by another version of jaxvit.
    """
    rank, directory = make_rank(monitor or ()), directory.absolute()  # as orbax wants it
    steps = {int(path.name): path for path in directory.glob("[0-9]*") if path.name.isdecimal()}
    scores = {step: _score(path / "metrics/metrics", rank) for step, path in steps.items()}
    scored = sorted((s for s in steps if scores[s] is not None), key=scores.get, reverse=True)
    unscored = sorted((s for s in steps if scores[s] is None), reverse=True)
    for step in [*scored, *unscored] if monitor else sorted(steps, reverse=True):
        path = steps[step]
        try:
            averaged = "averages" in read_seal(path)["sha256"]
            items = read_items(path, {"averages": None} if averaged else PARAMS_AND_EXTRA)
        except UserError:
            raise
        except Exception as error:  # whatever a reader may meet in bytes that are not its own
            warn(
                f"checkpoint {path} is damaged and not used ({' '.join(str(error).split())[:200]})"
            )
            continue
        return step, items.get("averages", items)
    raise UserError(
        f"no checkpoint under {directory} is whole: run the command that made it again, and let an "
        "epoch end"
    )


@contextlib.contextmanager
def refused_if_closed(path: Path) -> Iterator[None]:
    """A checkpoint that cannot be opened may be whole: a UserError, and nothing to set aside."""
    try:
        yield
    except PermissionError as error:
        raise UserError(
            f"checkpoint {path} cannot be opened ({error.strerror}): make it readable"
        ) from error


def read_seal(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself: version, step, and a SHA-256 of each of its items.

    Raises:
      UserError: it cannot be opened, or another version of jaxvit wrote it.
      Exception: of any kind; it cannot be read.
    """
    with refused_if_closed(path):
        seal = ocp.JsonCheckpointHandler().restore(path / "seal")
    version = seal.get("version", 1)
    if version != VERSION:
        raise UserError(
            f"checkpoint {path} was written by another version of jaxvit (its state has layout "
            f"{version}, and this version reads {VERSION}): use that version, or start again "
            "with --overwrite"
        )
    return seal


def read_items(path: Path, likes: Mapping[str, Any]) -> dict[str, Any]:
    """Items of one checkpoint as NumPy arrays, those that it has, each verified.

    Args:
      path: of the checkpoint.
      likes: by the item's name, a tree of the structure, shapes and dtypes to read it into; None
        for nested dicts of whatever shapes are there.

    Raises:
      UserError: the checkpoint cannot be opened, or another version of jaxvit wrote it.
      Exception: of any kind; it cannot be read, or its bytes are not those that were saved.
    """
    seal = read_seal(path)
    saved = seal["sha256"]
    with refused_if_closed(path):
        items = {
            name: _read_item(path / name, like) for name, like in likes.items() if name in saved
        }
    if seal["step"] != int(path.name):
        raise ValueError(f"it was saved as step {seal['step']}")
    for name, tree in items.items():
        if sha256(tree) != saved[name]:
            raise ValueError(f"the bytes of its {name} are not those that were saved")
    return items


def _read_item(path: Path, like: Any) -> Any:
    if like is not None:
        shapes = jax.tree.map(lambda leaf: np.broadcast_to(leaf.dtype.type(0), leaf.shape), like)
        handler = ocp.StandardCheckpointHandler()
        return handler.restore(path, args=ocp.args.StandardRestore(shapes))
    handler = ocp.PyTreeCheckpointHandler()
    as_numpy = jax.tree.map(
        lambda _: ocp.RestoreArgs(restore_type=np.ndarray), dict(handler.metadata(path).tree)
    )
    return handler.restore(path, args=ocp.args.PyTreeRestore(restore_args=as_numpy))


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


def _score(path: Path, rank: Callable) -> tuple[float, ...] | None:
    """What a checkpoint's scores rank as, or None where they are missing or damaged."""
    try:
        return rank(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
