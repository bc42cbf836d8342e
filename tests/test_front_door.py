"""What a first user meets: warnings before training, more epochs, predictions, loaded runs."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import train_jax
from jaxvit import __main__ as jaxvit_command
from jaxvit.command_line import parse
from jaxvit.data.datasets import Dataset, Split
from jaxvit.errors import UserError
from jaxvit.interop.saved_run import classify, load_run
from jaxvit.runs.directory import RunDirectory
from jaxvit.runs.progress import TrainingProgress, announce
from jaxvit.training.fit import Plan
from tests.test_resume import outcome, stop_at


def split(labels: list[int]) -> Split:
    rows = np.arange(len(labels))
    names = tuple(map(str, rows))
    return Split(np.zeros((len(labels), 1, 1, 3), np.uint8), rows, np.int32(labels), names)


def announced(args: list[str], data: Dataset, plan: Plan) -> str:
    console = Console(record=True, width=80, file=open(os.devnull, "w"))  # noqa: SIM115
    announce(console, "folder", parse(args)[1], {"a": np.zeros(7)}, data, plan, 1)
    return console.export_text()


def test_it_says_what_it_has_before_it_trains():
    data = Dataset(("ant", "bee"), split([0] * 30 + [1] * 8), split([0, 1] * 4), split([0, 1]))
    data = data._replace(passed_over={".heic": 3}, skipped=("x.jpg is text",))
    shown = announced(["--optim.warmup", "0.4"], data, Plan(38, 8, 2))
    assert "2 classes: 38 images to train on, 8 for validation, 2 for the test" in shown
    assert "smallest class to train on: 'bee' with 8" in shown
    assert "warning: 8 validation images are few to choose an epoch by" in shown
    assert "+-35 points" in shown
    assert "warning: 4 of 10 steps are warm-up" in shown
    assert "passed over 3 .heic" in shown
    assert "left out 1 image(s); the first: x.jpg is text" in shown
    assert "folder: 7 parameters, 10 steps in 2 epochs" in shown


def test_it_does_not_warn_where_there_is_no_reason():
    data = Dataset(("ant", "bee"), split([0, 1] * 50), split([0, 1] * 50), split([0, 1]))
    shown = announced(["--optim.warmup", "0.33"], data, Plan(100, 8, 8))
    assert "warning" not in shown
    assert "passed over" not in shown
    assert "left out" not in shown


def test_progress_fits_80_columns():
    console = Console(record=True, width=80, file=open(os.devnull, "w"))  # noqa: SIM115
    headline = (("loss", ".3f"), ("accuracy", ".2%"), ("ece", ".3f"))
    with TrainingProgress(console, 123_456, 1000, headline) as progress:
        metrics = {"val/loss": 12.345, "val/accuracy": 1.0, "val/ece": 0.123}
        progress.step(123_000, 999, {"train/loss": 12.345, "images_per_sec": 12_345.0})
        progress.epoch(999, 123_000, metrics, best=True)
    lines = console.export_text().splitlines()
    assert any(line.endswith("best") for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory, _quick_compilation) -> Path:
    out = tmp_path_factory.mktemp("front") / "run"
    assert train_jax.main([*tiny, "--out", str(out)]) == 0
    return out


def test_the_closing_line_has_the_interval_and_fits_80_columns(tiny, tmp_path, capsys):
    out = tmp_path / "r"
    assert train_jax.main([*tiny, "--out", str(out)]) == 0
    printed = capsys.readouterr().out.splitlines()
    summary = json.loads((out / "summary.json").read_text())
    low, high = summary["test/accuracy_low"], summary["test/accuracy_high"]
    assert low < summary["test/accuracy"] < high
    (line,) = [line for line in printed if line.startswith("test accuracy")]
    assert f"{summary['test/accuracy']:.2%} (95 % interval {low:.2%} to {high:.2%})" in line
    assert f"at epoch {summary['best']['epoch']}" in line
    assert max(len(line) for line in printed if str(tmp_path) not in line) <= 100


def test_a_finished_run_is_given_more_epochs_by_an_explicit_option(tiny, tmp_path, capsys):
    out = tmp_path / "run"
    args = [*tiny, "--out", str(out)]
    assert train_jax.main(args) == 0
    before = json.loads((out / "summary.json").read_text())
    lines = (out / "metrics.jsonl").read_text().splitlines()
    capsys.readouterr()
    for more, message in (
        (["--epochs", "3"], "more epochs with --extend --epochs N"),
        (["--epochs", "1", "--extend"], "--epochs 1 is below the 2"),
        (["--extend"], "already holds a run, which is finished"),
        (["--epochs", "3", "--extend", "--seed", "9"], "another configuration (seed 0 -> 9)"),
    ):
        assert train_jax.main([*args, *more]) == 2
        assert message in capsys.readouterr().err
        assert json.loads((out / "summary.json").read_text()) == before
    assert train_jax.main([*args, "--epochs", "3", "--extend"]) == 0
    printed = capsys.readouterr().out
    assert "was finished with 2 epochs and is given 3" in printed
    after = json.loads((out / "summary.json").read_text())
    assert after["epochs"] == 3
    assert after["steps"] == 58
    assert after["extended_from_epochs"] == [2]
    assert "not the result of a fresh run" in after["note"]
    assert (out / "metrics.jsonl").read_text().splitlines()[: len(lines)] == lines
    rates = [
        line["train/learning_rate"]
        for line in map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
        if "train/learning_rate" in line
    ]
    assert rates[-1] < 1e-5 < 1e-4 < rates[-3]  # the rate went up again before it ended at 0
    assert train_jax.main([*args, "--epochs", "3"]) == 2  # finished again
    assert "is finished" in capsys.readouterr().err


def test_an_extension_that_is_stopped_is_resumed(tiny, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for out in (whole, stopped):
        assert train_jax.main([*tiny, "--out", str(out)]) == 0
    more = ["--epochs", "3", "--extend"]
    assert train_jax.main([*tiny, "--out", str(whole), *more]) == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 45, signal.SIGTERM)
        assert train_jax.main([*tiny, "--out", str(stopped), *more]) == 143
    assert not (stopped / "summary.json").exists()
    assert train_jax.main([*tiny, "--out", str(stopped), *more]) == 0
    assert outcome(stopped) == outcome(whole)


def test_a_run_whose_summary_alone_is_missing_keeps_its_rate(finished, tiny):
    before = json.loads((finished / "summary.json").read_text())
    (finished / "summary.json").unlink()
    assert train_jax.main([*tiny, "--out", str(finished)]) == 0
    after = json.loads((finished / "summary.json").read_text())
    assert after["images_per_sec"] == pytest.approx(before["images_per_sec"])
    assert after["images_per_sec"] > 0
    assert after["params_sha256"] == before["params_sha256"]


def test_a_run_that_was_killed_in_its_first_epoch_says_so(tiny, tmp_path, monkeypatch, capsys):
    class Killed(BaseException):
        pass

    log = RunDirectory.log

    def log_and_die(self, at, epoch, metrics):
        log(self, at, epoch, metrics)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "log", log_and_die)
        with pytest.raises(Killed):
            train_jax.main([*tiny, "--out", str(tmp_path / "run"), "--checkpoint.every-steps", "0"])
    capsys.readouterr()
    with pytest.raises(
        UserError, match="no checkpoint under .* is whole: run the command"
    ) as error:
        load_run(tmp_path / "run", warn=pytest.fail)
    assert "None" not in str(error.value)


def test_a_loaded_run_is_one_line(finished):
    run = load_run(finished)
    assert len(repr(run)) < 200
    assert "10 classes" in repr(run)


def test_loading_a_run_writes_nothing(finished):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    load_run(finished)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_grey_runs_classify_photos_too_and_odd_arrays_are_refused(finished):
    run = load_run(finished)
    photo = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    found = classify(run, [photo, np.asarray(photo), np.zeros((9, 5), np.uint8)])
    assert len(found) == 3
    assert found[0] == found[1]
    assert classify(run, []) == []
    for array in (np.zeros((8, 8, 3)), np.zeros((8, 8, 4), np.uint8), np.zeros(8, np.uint8)):
        with pytest.raises(UserError, match="is no photo: give uint8"):
            classify(run, array)
    with pytest.raises(UserError, match="nowhere.jpg cannot be read"):
        classify(run, "nowhere.jpg")


def test_predict_prints_a_line_for_each_photo(finished, tmp_path, capsys):
    photos = []
    for number in range(2):
        photos.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(np.full((8, 8, 3), 100 * number, np.uint8)).save(photos[-1])
    assert jaxvit_command.main(["predict", str(finished), *photos, "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = classify(load_run(finished), photos)
    for line, photo, probabilities in zip(lines, photos, expected, strict=True):
        top = list(probabilities.items())[:2]
        assert line == f"{photo}: " + ", ".join(f"{name} {p:.1%}" for name, p in top)
    assert jaxvit_command.main(["predict", str(finished), *photos, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == dict(zip(photos, expected, strict=True))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nonsense"], "unknown command 'nonsense': choose one of predict"),
        (["predict", "nowhere", "x.jpg"], "nowhere is not a run directory"),
    ],
)
def test_a_wrong_command_is_one_line(args, message, capsys):
    assert jaxvit_command.main(args) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
