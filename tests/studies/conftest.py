"""A study of two configurations, and runs that look finished without training."""

import dataclasses
import json
from pathlib import Path

import pytest

from jaxvit.command_line import parse
from jaxvit.studies.plan import Run, plan_runs
from jaxvit.studies.study import Metric, Study


@pytest.fixture
def study() -> Study:
    return Study(
        name="two",
        question="Is more smoothing worse?",
        configurations={
            "none": ("digits", "--label-smoothing", "0"),
            "much": ("digits", "--label-smoothing", "0.4"),
        },
        baseline="none",
        seeds=3,
        metrics=(
            Metric("test/accuracy", "accuracy", ".1%"),
            Metric("best/val/loss", "validation loss", ".3f"),
        ),
    )


@pytest.fixture
def chain() -> Study:
    """Its second configuration starts from the first one's run of the same seed."""
    return Study(
        name="chain",
        question="?",
        configurations={
            "first": ("digits", "--epochs", "1"),
            "second": ("digits", "--epochs", "2", "--init.weights", "{first}"),
        },
        baseline="first",
        seeds=2,
    )


@pytest.fixture
def runs(study, tmp_path) -> list[Run]:
    return plan_runs(study, study.seeds, tmp_path / "two", ("--epochs", "2"), parse)


def pretend(run: Run, accuracy: float = 0.5, loss: float = 1.0, test: tuple[str, ...] = ("a",)):
    """Writes what a finished run leaves, as far as a study reads it."""
    run.path.mkdir(parents=True, exist_ok=True)
    config = json.dumps(dataclasses.asdict(run.config))
    (run.path / "config.json").write_text(config)
    split = {"class_names": ["0", "1"], "test": dict.fromkeys(test, "00000000")}
    (run.path / "split.json").write_text(json.dumps(split))
    summary = {
        "test/accuracy": accuracy, "best": {"val/loss": loss, "epoch": 1}, "wall_sec": 60.0,
        "params_sha256": f"{run}",
    }  # fmt: skip
    (run.path / "summary.json").write_text(json.dumps(summary))


def read(path: Path) -> dict:
    return json.loads(path.read_text())
