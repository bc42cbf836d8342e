"""What a checkpoint holds, read without an optimiser and without a writer.

checkpoints/<step>/ has one item for each field of the state (`params`, `extra`, `opt_state`,
`averages`), the scores of its validation, and a `seal`: the version of the state's layout, the
step, and a SHA-256 of every item, which is compared when the item is read.
"""

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxvit.errors import UserError
from jaxvit.runtime.digest import sha256
from jaxvit.training.state import VERSION

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


class SavedWeights(NamedTuple):
    """What is used of a checkpoint.

    Attributes:
      step: of its state.
      scores: the metrics of its validation, such as "val/loss"; None where it was not validated, or
        they are damaged.
      weights: the running average where there is one, otherwise {"params": ..., "extra": ...}, of
        which extra is {} for most tasks; NumPy arrays.
    """

    step: int
    scores: dict[str, float] | None
    weights: Any


def read_weights(
    directory: Path, monitor: Monitor | None, warn: Callable[[str], None]
) -> tuple[int, Any]:
    """The step and the weights of the best or newest whole checkpoint: see ranked_weights.

    Raises:
      UserError: none is whole, or one was written by another version of jaxvit.
    """
    for found in ranked_weights(directory, monitor, warn):
        return found.step, found.weights
    raise UserError(
        f"no checkpoint under {directory.absolute()} is whole: run the command that made it again, "
        "and let an epoch end"
    )


def ranked_steps(directory: Path, monitor: Monitor | None) -> list[int]:
    """The steps of the checkpoints of a run, from best to worst; of equals the newest first.

    Args:
      directory: checkpoints/ of a run.
      monitor: which validation metrics decide on the best state; scored checkpoints come before
        unscored ones, and of these the newest first. None for the newest, whatever its score.
    """
    steps = [int(path.name) for path in directory.glob("[0-9]*") if path.name.isdecimal()]
    newest_first = sorted(steps, reverse=True)
    if monitor is None:
        return newest_first
    rank = make_rank(monitor)
    scores = {s: read_score(directory / str(s) / "metrics/metrics", rank) for s in newest_first}
    scored = [step for step in newest_first if scores[step] is not None]
    unscored = [step for step in newest_first if scores[step] is None]
    return [*sorted(scored, key=scores.get, reverse=True), *unscored]


def ranked_weights(
    directory: Path, monitor: Monitor | None, warn: Callable[[str], None]
) -> Iterator[SavedWeights]:
    """The whole checkpoints of a run, from best to worst, each read when it is asked for.

    They are read without a writer: nothing is written, and nothing moved.

    Args:
      directory, monitor: see ranked_steps.
      warn: told in one line of a checkpoint that is damaged.

    Raises:
      UserError: one was written by another version of jaxvit.
    """
    directory = directory.absolute()  # as orbax wants it
    for step in ranked_steps(directory, monitor):
        path = directory / str(step)
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
        score = path / "metrics/metrics"
        scored = read_score(score, make_rank(monitor or ())) is not None
        metrics = json.loads(score.read_text()) if scored else None
        weights = items["averages"] if averaged else {"extra": {}, **items}
        yield SavedWeights(step, metrics, weights)


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
    ignore_late_errors()
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


def ignore_late_errors() -> None:
    """Reads or writes of an item that end after its first error are of no interest.

    Nobody asks for their errors, or they find their event loop closed: Python would print a
    traceback for each.
    """
    shown = sys.unraisablehook
    if getattr(shown, "ignores_late_errors", False):
        return
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)

    def hook(unraisable) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            shown(unraisable)

    hook.ignores_late_errors = True
    sys.unraisablehook = hook


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


def read_score(path: Path, rank: Callable) -> tuple[float, ...] | None:
    """What a checkpoint's scores rank as, or None where they are missing or damaged."""
    try:
        return rank(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
