"""What a new user sees: warnings before training, more epochs, predictions, loaded runs."""

import json
import os
import shutil
import signal
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import train_jax
from jaxvit import __main__ as jaxvit_command
from jaxvit import tasks
from jaxvit.command_line import parse
from jaxvit.config import OptimConfig
from jaxvit.data.decoded import Dataset, Split
from jaxvit.errors import UserError
from jaxvit.interop.saved_run import classify, load_run
from jaxvit.runs.directory import RunDirectory
from jaxvit.runs.progress import TrainingProgress, announce
from jaxvit.runtime.interrupt import StopSignals
from jaxvit.tasks.configured import MAKE
from jaxvit.tasks.instance_discrimination import WITHOUT_LABELS
from jaxvit.training.fit import Plan, initial_share
from tests.runs.test_resume import outcome, stop_at

TASKS = [import_module(f"jaxvit.tasks.{each.name}") for each in iter_modules(tasks.__path__)]
HEADLINES = [each.HEADLINE for each in TASKS if hasattr(each, "HEADLINE")]


def split(labels: list[int]) -> Split:
    rows = np.arange(len(labels))
    names = tuple(map(str, rows))
    return Split(np.zeros((len(labels), 1, 1, 3), np.uint8), rows, np.int32(labels), names)


def announced(args: list[str], data: Dataset, plan: Plan) -> str:
    console = Console(record=True, width=80, file=open(os.devnull, "w"))  # noqa: SIM115
    announce(console, "folder", parse(args)[1], {"a": np.zeros(7)}, data, plan, 1)
    return console.export_text()


def test_data_plan_and_warnings_are_printed_before_training():
    data = Dataset(("ant", "bee"), split([0] * 30 + [1] * 8), split([0, 1] * 4), split([0, 1]))
    data = data._replace(passed_over={".heic": 3}, skipped=("x.jpg is text",))
    shown = announced(["--optim.warmup", "0.4"], data, Plan(38, 8, 2))
    assert "2 classes: 38 images to train on, 8 for validation, 2 for the test" in shown
    assert "smallest class to train on: 'bee' with 8" in shown
    assert "folder: 7 parameters, 10 steps in 2 epochs" in shown
    assert "warning: 8 validation images are few to choose the best epoch by" in shown
    assert "the best epoch by: --select last scores the last" in " ".join(shown.split())
    assert "warning: 4 of 10 steps are warm-up" in shown
    assert "--batch-size" not in shown
    larger = " ".join(announced([], data, Plan(38, 64, 2)).split())
    assert "warning: --batch-size 64 is more than the 38 images to train on" in larger
    assert "passed over 3 .heic" in shown
    assert "left out 1 image(s); the first: x.jpg is text" in shown
    assert "folder: 7 parameters, 10 steps in 2 epochs" in shown


def test_an_average_of_more_steps_than_the_run_has_is_said_before_training():
    data = Dataset(("ant", "bee"), split([0, 1] * 50), split([0, 1] * 50), split([0, 1]))

    def shown(*args: str, epochs: int = 8) -> str:
        return announced(list(args), data, Plan(100, 10, epochs))

    long = ("--optim.ema-decay", "0.99")
    assert (
        "warning: at the end 45% of the running average will be the initial weights: train for "
        "more --epochs, or lower --optim.ema-decay 0.99 to 0.9625"
    ) in shown(*long)
    assert "running average" not in shown(*long, epochs=30)  # .99^300 = .049
    assert "at the end 5% of" in shown(*long, epochs=29)
    assert "running average" not in shown("--optim.ema-decay", "0.9625")  # as advised
    assert initial_share(OptimConfig(ema_decay=0.5), Plan(100, 10, 1)) == (0.5**10, 10)
    # Ten batches of an epoch, joined by four, are three updates.
    joined = shown(*long, "--optim.accumulate-grad-batches", "4")
    assert "at the end 79% of" in joined
    assert "0.99 to 0.875" in joined


def test_a_run_without_problems_gives_no_warning():
    data = Dataset(("ant", "bee"), split([0, 1] * 50), split([0, 1] * 50), split([0, 1]))
    shown = announced(["--optim.warmup", "0.33"], data, Plan(100, 8, 80))
    assert "warning" not in shown
    assert "passed over" not in shown
    assert "left out" not in shown


def test_the_bar_of_one_or_two_losses_fits_80_columns():
    console = Console(width=200, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    progress = TrainingProgress(console, 123_456, 1000, ())
    for names in (("loss",), ("loss/generator", "loss/discriminator")):
        losses = {f"train/{name}": 12.345 for name in names}
        progress.step(123_000, 999, {**losses, "images_per_sec": 12_345.0})
        (shown,) = progress._bar.tasks
        assert shown.fields["status"].count("12.3") == len(names)
        hours = len("1:23:45") - len("--:--")  # of the time left, which is not known yet
        assert console.measure(progress._bar.get_renderable()).maximum + hours <= 80


@pytest.mark.parametrize("headline", [*HEADLINES, WITHOUT_LABELS])
def test_the_line_of_an_epoch_fits_80_columns(headline):
    assert len(HEADLINES) == len(MAKE)
    console = Console(record=True, width=80, file=open(os.devnull, "w"))  # noqa: SIM115
    with TrainingProgress(console, 123_456, 1000, headline) as progress:
        values = {"loss": 12.345, "ece": 0.123, "uniformity": -3.9, "kernel_distance": -0.1234}
        metrics = {f"val/{name}": values.get(name, 1.0) for name, _ in headline}
        progress.epoch(999, 123_000, metrics, best=True)
    lines = console.export_text().splitlines()
    assert any(line.endswith("best") for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory, _quick_compilation) -> Path:
    out = tmp_path_factory.mktemp("front") / "run"
    assert train_jax.main([*tiny, "--out", str(out)]) == 0
    return out


def test_the_last_line_has_the_interval_and_the_output_fits_100_columns(tiny, tmp_path, capsys):
    out, began = tmp_path / "r", time.perf_counter()
    assert train_jax.main([*tiny, "--out", str(out), "--optim.ema-decay", "0.1"]) == 0
    took = time.perf_counter() - began
    printed = capsys.readouterr().out.splitlines()
    summary = json.loads((out / "summary.json").read_text())
    low, high = summary["test/accuracy_low"], summary["test/accuracy_high"]
    assert low < summary["test/accuracy"] < high
    (line,) = [line for line in printed if line.startswith("test accuracy")]
    assert f"{summary['test/accuracy']:.2%} (95 % interval {low:.2%} to {high:.2%})" in line
    best = summary["best"]
    (line,) = [line for line in printed if line.startswith("best validation")]
    assert f"{best['val/accuracy']:.2%} at epoch {best['epoch']}; " in line
    assert line.endswith(
        f"{summary['images_per_sec']:,.0f} images/s, {summary['wall_sec']:.0f} s in all"
    )
    assert summary["compile_sec"] < summary["wall_sec"] <= took
    assert max(len(line) for line in printed if str(tmp_path) not in line) <= 80


@pytest.mark.slow
def test_only_extend_gives_a_finished_run_more_epochs(tiny, tmp_path, capsys):
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
    assert json.loads((out / "summary-2-epochs.json").read_text()) == before
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


@pytest.mark.slow
def test_an_extension_that_is_stopped_resumes_with_the_same_result(tiny, tmp_path, monkeypatch):
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


def test_a_missing_summary_is_written_again_with_the_same_images_per_sec(finished, tiny):
    before = json.loads((finished / "summary.json").read_text())
    (finished / "summary.json").unlink()
    assert train_jax.main([*tiny, "--out", str(finished)]) == 0
    after = json.loads((finished / "summary.json").read_text())
    assert after["images_per_sec"] == pytest.approx(before["images_per_sec"])
    assert after["images_per_sec"] > 0
    assert after["params_sha256"] == before["params_sha256"]


def test_loading_a_run_that_was_killed_before_its_first_checkpoint_is_refused(
    tiny, tmp_path, monkeypatch, capsys
):
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


def test_the_repr_of_a_loaded_run_is_short(finished):
    run = load_run(finished)
    assert len(repr(run)) < 200
    assert "10 classes" in repr(run)


def test_loading_a_run_writes_nothing(finished):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    load_run(finished)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_a_grey_run_classifies_colour_photos_and_refuses_other_arrays(finished):
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


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nonsense"], "unknown command 'nonsense': choose one of predict"),
        (["predict", "nowhere", "x.jpg"], "nowhere does not exist: give a weights file"),
    ],
)
def test_a_wrong_command_is_one_line(args, message, capsys):
    assert jaxvit_command.main(args) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_run_is_loaded_by_a_relative_path(finished, monkeypatch):
    monkeypatch.chdir(finished.parent)
    assert load_run(finished.name, warn=pytest.fail).step == load_run(finished).step


def test_a_directory_may_be_called_like_a_preset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("ant", "bee"):
        for number in range(3):
            path = tmp_path / "folder" / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    name, config = parse(["folder", "--data.dir", "folder", "--out", "pets-small"])
    assert (name, config.data.dir, config.out) == ("folder", "folder", "pets-small")
    with pytest.raises(UserError, match="the preset 'pets-small' comes first"):
        parse(["folder", "--data.dir", "folder", "pets-small"])


@pytest.mark.slow
def test_averages_that_are_missing_are_damage_and_not_raw_weights(tiny, tmp_path):
    out, warnings = tmp_path / "run", []
    assert train_jax.main([*tiny, "--out", str(out), "--optim.ema-decay", "0.5"]) == 0
    for path in out.glob("checkpoints/*/averages"):
        shutil.rmtree(path)
    with pytest.raises(UserError, match="no checkpoint under"):
        load_run(out, warn=warnings.append)
    assert warnings


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--out", "/"], "--out / is no place for a run"),
        (["--data.cache-dir", "{out}/cache"], "lies in --out"),
    ],
)
def test_places_that_cannot_work_are_one_line(tiny, tmp_path, args, message, capsys):
    out = tmp_path / "run"
    args = [arg.replace("{out}", str(out)) for arg in args]
    assert train_jax.main([*tiny, "--out", str(out), *args]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_what_came_into_out_while_the_data_was_read_is_not_deleted(tiny, tmp_path):
    _, config = parse([*tiny, "--out", str(tmp_path / "run")])
    with RunDirectory(config) as directory:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "thesis.txt").write_text("two years of work")
        with pytest.raises(UserError, match="holds 'thesis.txt', which no run has made"):
            directory.open({"class_names": []})
    assert (tmp_path / "run" / "thesis.txt").exists()


def test_a_run_that_is_replaced_is_there_until_the_new_one_is(tiny, tmp_path, monkeypatch):
    _, config = parse([*tiny, "--out", str(tmp_path / "run"), "--overwrite"])
    with RunDirectory(config) as directory:
        directory.open({"class_names": []})
        (tmp_path / "run" / "summary.json").write_text("{}")
    rename = Path.rename

    def fail_to_come(self, target):
        if Path(target) == tmp_path / "run" and not str(self).endswith(".old"):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_to_come)
    with RunDirectory(config) as directory, pytest.raises(UserError, match="cannot be written"):
        directory.open({"class_names": []})
    assert (tmp_path / "run" / "summary.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_signal_in_the_last_validation_is_not_lost(tiny, tmp_path, monkeypatch, capsys):
    log, args = RunDirectory.log, [*tiny, "--out", str(tmp_path / "run")]

    def log_and_signal(self, at, epoch, metrics):
        log(self, at, epoch, metrics)
        if at == 39 and "val/loss" in metrics:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "log", log_and_signal)
        assert train_jax.main(args) == 143
    assert "stopped after step 39 of 39" in capsys.readouterr().err
    assert not (tmp_path / "run" / "summary.json").exists()
    assert train_jax.main(args) == 0
    assert (tmp_path / "run" / "summary.json").exists()


def test_inside_another_program_a_signal_before_the_first_step_is_that_programs():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as of a job in the background
    try:
        with StopSignals():
            os.kill(os.getpid(), signal.SIGINT)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _expect_an_interrupt()
    finally:
        signal.signal(signal.SIGINT, before)


def _expect_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), StopSignals():
        os.kill(os.getpid(), signal.SIGINT)


def test_photos_are_turned_as_the_run_was_trained(finished):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4] = 255
    photo = Image.fromarray(pixels)
    photo.getexif()[0x0112] = 6
    run = load_run(finished)
    upright, stored = classify(run, np.rot90(pixels, -1).copy()), classify(run, pixels)
    assert upright != stored
    assert classify(run, photo) == upright == classify(run, photo, upright=True)
    assert classify(run, photo, upright=False) == stored
    folder = replace(run.config.data, name="folder", exif=False)
    trained_as_stored = run._replace(config=replace(run.config, data=folder))
    assert classify(trained_as_stored, photo) == stored


def test_extend_without_a_run_or_without_a_number_is_refused(tiny, tmp_path, capsys):
    args = [*tiny, "--out", str(tmp_path / "none"), "--extend"]
    assert train_jax.main(args) == 2
    assert "--extend: --out" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    with pytest.raises(UserError, match="--extend needs --epochs N, the new total"):
        parse(["--extend"])


def test_predict_shows_five_classes_unless_asked(finished, tmp_path, capsys):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    assert jaxvit_command.main(["predict", str(finished), str(tmp_path / "a.png")]) == 0
    assert capsys.readouterr().out.count("%") == 5


@pytest.mark.slow
def test_a_run_extended_twice_lists_both_numbers(tiny, tmp_path):
    args = [*tiny, "--out", str(tmp_path / "run")]
    assert train_jax.main([*args, "--epochs", "1"]) == 0
    for epochs in ("2", "3"):
        assert train_jax.main([*args, "--epochs", epochs, "--extend"]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["extended_from_epochs"] == [1, 2]
