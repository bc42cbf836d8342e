"""Soups of our own runs: candidates, their scores, and the average as a run that can be used."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxvit.cleanup import whole_directory
from jaxvit.config import Config
from jaxvit.errors import UserError
from jaxvit.interop.evaluation import evaluate_images
from jaxvit.interop.labelled import SPLITS, Labelled, described, labelled_split
from jaxvit.interop.predictions import make_classifier
from jaxvit.interop.saved_run import SavedRun, load_run, read_config
from jaxvit.objectives.metrics import MONITOR
from jaxvit.objectives.monitors import monitor_of
from jaxvit.optim.averaging import average_weights, greedy_soup
from jaxvit.runs.checkpoint import Checkpoints
from jaxvit.runs.saved_items import Monitor, make_rank, ranked_weights
from jaxvit.runtime.digest import sha256
from jaxvit.runtime.machine import describe_machine
from jaxvit.training.state import TrainState

Metrics = dict[str, float]
SCORED = ("val", "test")


class Candidate(NamedTuple):
    """Weights that may go into a soup.

    Attributes:
      run: the directory that they are of.
      step: of their checkpoint.
      params: nested dict of NumPy arrays.
    """

    run: str
    step: int
    params: Any


class Soup(NamedTuple):
    """An average, and what it was made of.

    Attributes:
      params: the average.
      averaged: those in it.
      scores: for each candidate, from the best to the worst on validation, its metrics.
      before: the best candidate's metrics, as "val/accuracy" and "test/accuracy".
      after: the average's.
    """

    params: Any
    averaged: tuple[Candidate, ...]
    candidates: tuple[tuple[Candidate, Metrics], ...]
    before: Metrics
    after: Metrics


def best_checkpoints(run: str, number: int, warn: Callable[[str], None]) -> list[Candidate]:
    """The best checkpoints of a run by validation, the best first.

    Raises:
      UserError: it is no run, or fewer than two whole ones are validated.
    """
    config = read_config(Path(run))
    _refuse_others(run, config)
    monitor = monitor_of(config.method, config.monitor)
    found = []
    for each in ranked_weights(Path(run) / "checkpoints", monitor, warn):
        if each.scores is not None:
            found.append(Candidate(run, each.step, _params(each.weights)))
        if len(found) == number:
            break
    if len(found) < 2:
        raise UserError(
            f"{run} keeps {len(found)} validated checkpoint(s), and a soup needs at least 2: train "
            f"with --checkpoint.keep-best {number} and as many validations (--val-every-epochs), "
            "or give several runs"
        )
    if len(found) < number:
        warn(f"{run} keeps {len(found)} validated checkpoints, so --best {number} takes these")
    return found


def selected_weights(runs: Sequence[str]) -> list[Candidate]:
    """The weights of each run that load_run gives.

    Raises:
      UserError: one is no run, or they have not one architecture, one preprocessing and the same
        classes and images.
    """
    loaded = {run: load_run(run) for run in runs}
    for run, each in loaded.items():
        _refuse_others(run, each.config)
    first = loaded[runs[0]]
    for run, other in loaded.items():
        for what, of in (
            ("classes", lambda run: run.class_names),
            ("a preprocessing", lambda run: run.preprocessing),
            ("an architecture", lambda run: _architecture(run)),
        ):
            if of(other) != of(first):
                raise UserError(
                    f"{run} has {what} other than {runs[0]}: average runs of one model and one set "
                    "of classes"
                )
    _refuse_leaks(runs)
    return [Candidate(run, each.step, _params(each.params)) for run, each in loaded.items()]


def _refuse_others(run: str, config: Config) -> None:
    if config.makes_images:
        raise UserError(
            f"{run} is of --method {config.method}, which makes images: train it with "
            "--optim.ema-decay .999, which keeps an average as it goes"
        )
    if not config.has_head:
        raise UserError(
            f"{run} is of --method {config.method}, which leaves no classifier that could be "
            "scored: fine-tune from it with --init.weights, and average those runs"
        )
    if not config.model.is_vit:
        raise UserError(
            f"{run} is of a {config.model.name}, whose batch statistics are not those of an "
            "average: train with --optim.swa-start 0.75, which computes them anew"
        )


def _params(weights: Any) -> Any:
    return jax.device_get(weights.get("params", weights))


def _architecture(run: SavedRun) -> Any:
    shapes = jax.tree.map(lambda leaf: leaf.shape, run.params)
    model = run.config.model
    options = (model.num_heads, model.norm_eps, model.gelu, model.pool, model.patch_size)
    return options, jax.tree.flatten(shapes, is_leaf=lambda x: isinstance(x, tuple))


def _refuse_leaks(runs: Sequence[str]) -> None:
    """The first run scores the soup, so no other may have been trained on its images."""
    splits = {run: {name: described(Path(run), name) for name in SPLITS} for run in runs}
    # Where training images are stored larger, their pixels are others than when they are scored.
    larger = any(read_config(Path(run)).data.stored_scale != 1 for run in runs)

    def identity(name: str, crc: str) -> tuple[str, str]:
        return (name, "") if larger else (name, crc)

    held_out = {
        identity(*item): split for split in SCORED for item in splits[runs[0]][split].items()
    }
    for run in runs[1:]:
        for name, crc in splits[run]["train"].items():
            if split := held_out.get(identity(name, crc)):
                raise UserError(
                    f"{run} was trained on {name}, which is a {split} image of {runs[0]}: average "
                    "runs of one split (--data.split-seed)"
                )


def make_soup(
    candidates: Sequence[Candidate],
    greedy: bool,
    score: Callable[[Any, str], Metrics],
    monitor: Monitor = MONITOR,
) -> Soup:
    """The average of all candidates, or with `greedy` of those that help on validation.

    The test split is scored twice, for the report: before, the best candidate by validation, and
    after. It chooses nothing.

    Args:
      candidates: at least two.
      greedy: see jaxvit.optim.averaging.greedy_soup.
      score: (params, "val" or "test") -> metrics.
      monitor: the metrics by which candidates are compared; see jaxvit.training.task.Task.
    """
    rank = make_rank(monitor)

    def validate(params: Any) -> Metrics:
        return {f"val/{name}": value for name, value in score(params, "val").items()}

    def test(params: Any) -> Metrics:
        return {f"test/{name}": value for name, value in score(params, "test").items()}

    scored = [(each, validate(each.params)) for each in candidates]
    scored.sort(key=lambda pair: rank(pair[1]), reverse=True)
    ranked = [each.params for each, _ in scored]
    if greedy:
        params, chosen = greedy_soup(ranked, lambda params: rank(validate(params)))
    else:
        params, chosen = average_weights(ranked), tuple(range(len(ranked)))
    best, of_best = scored[0]
    return Soup(
        params,
        tuple(scored[index][0] for index in chosen),
        tuple(scored),
        of_best | test(best.params),
        validate(params) | test(params),
    )


def make_scorer(
    run: SavedRun, splits: dict[str, Labelled], batch_size: int, track: Any
) -> Callable[[Any, str], Metrics]:
    """(params, split) -> metrics of the run's model with these weights."""

    def score(params: Any, split: str) -> Metrics:
        classifier = make_classifier(run._replace(params=jax.tree.map(jnp.asarray, params)))
        what = f"{split} images"
        return evaluate_images(
            classifier, splits[split], batch_size, track=track, what=what
        ).metrics

    return score


def load_splits(run: str, data_dir: str | None, track: Any) -> dict[str, Labelled]:
    """The validation and the test split of a run."""
    return {split: labelled_split(run, split, data_dir, track) for split in SCORED}


def write_run(path: Path, soup: Soup, greedy: bool) -> None:
    """A run directory with the average as its one checkpoint, there whole or not at all.

    config.json and split.json are those of the first candidate's run. summary.json holds scores of
    the average as every run's does, `before`, and `averaged`.

    Raises:
      UserError: there is something at `path`, or it cannot be written.
    """
    first = soup.candidates[0][0]
    config: Config = replace(
        read_config(Path(first.run)), out=str(path), resume=False, overwrite=False, extend=False
    )
    step = max(each.step for each in soup.averaged)
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        with whole_directory(path.absolute()) as staging:
            (staging / "config.json").write_text(json.dumps(asdict(config), indent=1))
            shutil.copyfile(Path(first.run) / "split.json", staging / "split.json")
            state = TrainState(jnp.asarray(step, jnp.int32), soup.params, {}, (), None)
            validated = {name: value for name, value in soup.after.items() if name[:4] == "val/"}
            with Checkpoints(
                staging / "checkpoints", monitor_of(config.method, config.monitor)
            ) as checkpoints:
                checkpoints.save(state, validated)
            line = {"step": step, "epoch": config.epochs, **validated}
            (staging / "metrics.jsonl").write_text(json.dumps(line) + "\n")
            summary = json.dumps(_summary(soup, greedy, line), indent=1)
            (staging / "summary.json").write_text(summary + "\n")
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"--out {path} cannot be written ({reason}): choose another name"
        ) from error


def _summary(soup: Soup, greedy: bool, line: dict[str, Any]) -> dict[str, Any]:
    return {
        "preset": "average",
        "epochs": line["epoch"],
        "best": line,
        "last": line,
        "scored_step": line["step"],
        **{name: value for name, value in soup.after.items() if name.startswith("test/")},
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(soup.params)),
        "params_sha256": sha256(soup.params),
        "steps": line["step"],
        "recipe": "greedy" if greedy else "uniform",
        "averaged": [{"run": each.run, "step": each.step} for each in soup.averaged],
        "candidates": [
            {"run": each.run, "step": each.step, **metrics} for each, metrics in soup.candidates
        ],
        "before": soup.before,
        "after": soup.after,
        **describe_machine(),
    }
