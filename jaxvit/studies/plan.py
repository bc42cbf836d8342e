"""The runs of a study, and which of them are finished."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxvit.config import Config, require
from jaxvit.data.datasets import scoring_geometry
from jaxvit.errors import UserError
from jaxvit.runs.comparison import differences, list_differences
from jaxvit.studies.study import Study, reference

# Options of train_jax.py that a study sets itself, and what to give instead.
RESERVED = {
    "--seed": "--seeds N before the --",
    "--out": "--out DIR before the --",
    "--overwrite": "--overwrite before the --",
    "--resume": "nothing: unfinished runs are resumed",
    "--extend": "another --out and more --epochs",
    "--find-lr": "python train_jax.py PRESET --find-lr",
    "--help": "python train_jax.py PRESET --help-all",
    "--help-all": "python train_jax.py PRESET --help-all",
    "-h": "python train_jax.py PRESET --help-all",
}
Parse = Callable[[list[str]], tuple[str, Config]]  # see jaxvit.command_line.parse


class Run(NamedTuple):
    """One training of a study.

    Attributes:
      label: of its configuration.
      seed: of its draws.
      path: its run directory; its output goes to the file beside it that ends in .log.
      args: of train_jax.py.
      config: what they mean; None as long as a run that it starts from is not finished.
      needs: directories of those runs.
    """

    label: str
    seed: int
    path: Path
    args: tuple[str, ...]
    config: Config | None
    needs: tuple[Path, ...] = ()

    @property
    def log(self) -> Path:
        return self.path.with_name(f"{self.path.name}.log")

    def __str__(self) -> str:
        return f"{self.label}, seed {self.seed}"


def plan_runs(study: Study, seeds: int, out: Path, extra: Sequence[str], parse: Parse) -> list[Run]:
    """Every configuration with every seed. Seed by seed, so that what is finished can be paired.

    Args:
      study: checked.
      seeds: how many, from 0.
      out: of the study; a run is at out/LABEL/seed-N.
      extra: arguments that follow those of every configuration and win over them.
      parse: arguments of train_jax.py to the preset's name and the configuration.

    Raises:
      UserError: a run's arguments cannot work, a study sets one of `extra` itself, or two
        configurations are the same.
    """
    for arg in extra:
        name = arg.partition("=")[0]
        if name in RESERVED:
            raise UserError(f"{name} after -- is set by the study: give {RESERVED[name]}")
    runs = []
    for seed in range(seeds):
        for label, args in study.configurations.items():
            path = _place(out, label, seed)
            needs = {arg: _place(out, of, seed) for arg in args if (of := reference(arg))}
            args = tuple(str(needs.get(arg, arg)) for arg in args)
            seeded = [word for name in study.follow_seed for word in (name, str(seed))]
            args = (*args, *seeded, *extra, "--seed", str(seed), "--out", str(path))
            run = Run(label, seed, path, args, None, tuple(needs.values()))
            if can_begin(run):
                try:
                    run = run._replace(config=parse(list(args))[1])
                except UserError as error:
                    where = " (options of every run go after --)"
                    raise UserError(f"study {study.name}, {label}: {error}{where}") from error
            runs.append(run)
    _check_different(runs)
    return runs


def _place(out: Path, label: str, seed: int) -> Path:
    return out / label / f"seed-{seed}"


def _check_different(runs: Sequence[Run]) -> None:
    same: dict[tuple, str] = {}
    for run in filter(can_begin, runs):
        key = (run.seed, repr(run.config).replace(str(run.path), ""))
        first = same.setdefault(key, run.label)
        require(
            first == run.label,
            f"the configurations {first} and {run.label} are the same: an option after -- sets "
            "what they are to differ in; leave it out",
        )


def read_summary(run: Run) -> dict[str, Any] | None:
    """summary.json of a run that is finished; None of another.

    Raises:
      UserError: it is damaged.
    """
    path = run.path / "summary.json"
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): restore it, or remove {run.path}"
        ) from error
    return found


def can_begin(run: Run) -> bool:
    """Whether all runs that it starts from are finished."""
    return all(map(has_summary, run.needs))


def has_summary(place: Path) -> bool:
    """Whether a run directory is that of a finished run."""
    return (place / "summary.json").exists()


def is_finished(run: Run) -> bool:
    """Whether its run directory holds a summary, and of this configuration."""
    return (
        run.config is not None
        and read_summary(run) is not None
        and differences(run.path, run.config) == {}
    )


def check_unchanged(runs: Sequence[Run]) -> None:
    """Raises UserError for a run of another configuration: the table would mix both."""
    found = {run.path: differences(run.path, run.config) for run in runs if run.config}
    changed = {path: differ for path, differ in found.items() if differ}
    if changed:
        path, differ = next(iter(changed.items()))
        raise UserError(
            f"{len(changed)} of {len(runs)} runs are of another configuration, such as {path} "
            f"({list_differences(differ)}): choose another --out, or replace them with --overwrite"
        )


def check_same_data(runs: Sequence[Run]) -> None:
    """Raises UserError unless these finished runs were scored on the same test images.

    Where the split follows the seed, that holds for runs of one seed. Pixels are compared between
    runs of one preprocessing, and names between all.
    """
    first: dict[Any, tuple[Run, Any]] = {}
    for run in runs:
        path = run.path / "split.json"
        try:
            split = json.loads(path.read_text())
            names = (split["class_names"], list(split["test"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} cannot be read ({error}): restore it") from error
        seed, geometry = None, None
        if run.config:
            seed = run.config.data.split_seed
            geometry = scoring_geometry(run.config.data, run.config.model.img_size)
        for of, test in ((seed, names), ((seed, geometry), split["test"])):
            other, expected = first.setdefault(of, (run, test))
            require(
                test == expected,
                f"{run.path} was scored on other test images than {other.path}: their scores "
                "cannot be compared; choose another --out",
            )
