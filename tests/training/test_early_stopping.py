"""Runs that end before their last epoch, and runs whose rate drops on a plateau."""

import json

import lightning as L
import numpy as np
import pytest
import torch

import train_jax
from jaxvit.errors import UserError
from jaxvit.training.early_stopping import stops_after

# A rate so low that validation does not improve by 1 %.
STILL = ["--optim.lr", "1e-7", "--optim.ema-decay", "0", "--epochs", "9"]


def read(run, name="summary.json"):
    return json.loads((run / name).read_text())


def lines_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("rises", [True, False])
@pytest.mark.parametrize(("patience", "min_delta"), [(1, 0.0), (3, 0.0), (3, 0.05), (5, 0.2)])
def test_it_stops_where_lightning_does(rises, patience, min_delta):
    values = np.random.default_rng(patience).normal(size=40).round(2).tolist()
    callback = L.pytorch.callbacks.EarlyStopping(
        "x", min_delta, patience, mode="max" if rises else "min"
    )
    expected = None
    for number, value in enumerate(values, 1):
        stop, _ = callback._evaluate_stopping_criteria(torch.tensor(value))
        if stop:
            expected = number
            break
    assert stops_after(values, rises, patience, min_delta) == expected
    assert expected is not None


@pytest.mark.slow
def test_a_run_ends_after_its_patience_and_says_so(tiny, tmp_path, capsys):
    run = tmp_path / "run"
    args = [*tiny, *STILL, "--stop.patience", "2", "--stop.min-delta", "0.5", "--out", str(run)]
    assert train_jax.main(args) == 0
    said = capsys.readouterr()
    assert "stopped early, after 3 of 9 epochs: accuracy had not improved" in said.out + said.err
    summary, validated = read(run), [x for x in lines_of(run) if "val/loss" in x]
    assert [line["epoch"] for line in validated] == [1, 2, 3]
    assert summary["steps"] == validated[-1]["step"] == summary["last"]["step"]
    assert summary["stopped_early"].startswith("after 3 of 9 epochs")
    assert summary["epochs"] == 9


@pytest.mark.slow
def test_a_run_that_ended_by_its_patience_is_extended_with_another_one(tiny, tmp_path, capsys):
    """Its patience ends at its last validation, which is no early end."""
    run = tmp_path / "run"
    args = [*tiny, *STILL, "--stop.min-delta", "0.5", "--out", str(run)]
    assert train_jax.main([*args, "--epochs", "3", "--stop.patience", "2"]) == 0
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert "stopped_early" not in read(run)
    capsys.readouterr()
    more = [*args, "--epochs", "5", "--extend"]
    for patience in ("1", "2"):
        assert train_jax.main([*more, "--stop.patience", patience]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"--extend: by --stop.patience {patience} the run in" in line
        assert line.endswith("would end at once: give a larger --stop.patience, or 0")
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before
    assert train_jax.main([*more, "--stop.patience", "3"]) == 0
    summary = read(run)
    assert summary["stopped_early"].startswith("after 4 of 5 epochs")
    assert summary["last"]["epoch"] == 4
    assert read(run, "config.json")["stop"]["patience"] == 3


@pytest.mark.slow
def test_a_run_killed_before_its_report_does_not_train_on(tiny, tmp_path, monkeypatch):
    options = [*tiny, *STILL, "--stop.patience", "2", "--stop.min-delta", "0.5"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train_jax.main([*options, "--out", str(whole)]) == 0

    def kill(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("jaxvit.runs.recorder.Recorder.report", kill)
        with pytest.raises(KeyboardInterrupt):
            train_jax.main([*options, "--out", str(killed)])
    assert not (killed / "summary.json").exists()
    assert train_jax.main([*options, "--out", str(killed)]) == 0
    for name in ("params_sha256", "steps", "stopped_early"):
        assert read(killed)[name] == read(whole)[name]


@pytest.mark.slow
def test_improvement_by_another_metric_goes_on(tiny, tmp_path):
    """The run ends with the first validation whose loss is no improvement, and not before."""
    run = tmp_path / "run"
    args = [*tiny, "--monitor", "loss", "--stop.patience", "1", "--epochs", "4", "--optim.lr",
            "0.02", "--out", str(run)]  # fmt: skip
    assert train_jax.main(args) == 0
    losses = [x["val/loss"] for x in lines_of(run) if "val/loss" in x]
    summary = read(run)
    failed = [loss >= min(losses[:number]) for number, loss in enumerate(losses) if number]
    assert ("stopped_early" in summary) == any(failed)
    assert not any(failed[:-1])  # training goes on after an improvement
    assert len(losses) == 4 or failed[-1]
    assert summary["best"]["val/loss"] == min(losses)


def test_a_monitor_that_is_no_metric_is_refused(tiny, tmp_path, capsys):
    assert train_jax.main([*tiny, "--monitor", "speed", "--out", str(tmp_path / "run")]) == 2
    assert (
        "--monitor speed is no metric that compares states of this method: give one of accuracy"
        in (capsys.readouterr().err)
    )


@pytest.mark.slow
def test_the_rate_drops_on_a_plateau_and_resuming_repeats_it(tiny, tmp_path, monkeypatch):
    options = [
        *tiny, *STILL, "--optim.schedule", "plateau", "--optim.warmup", "0", "--optim.gamma",
        "0.5", "--optim.patience", "0", "--optim.threshold", "1", "--epochs", "5",
        "--log-every-steps", "1", "--checkpoint.every-steps", "0",
    ]  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train_jax.main([*options, "--out", str(whole)]) == 0
    # No validation is twice as good as the first, so every later one halves the rate.
    ends = [line["step"] for line in lines_of(whole) if "val/loss" in line]
    peak = read(whole, "config.json")["optim"]["lr"]
    for line in lines_of(whole):
        if "train/learning_rate" in line:
            drops = max(0, sum(end < line["step"] for end in ends) - 1)
            assert line["train/learning_rate"] == pytest.approx(peak * 0.5**drops)

    from jaxvit.runs.recorder import Recorder

    plain, calls = Recorder._on_epoch, []

    def kill_at_the_fourth(self, step, state):
        calls.append(step)
        if len(calls) == 4:
            self._checkpoints.wait()
            raise KeyboardInterrupt
        return plain(self, step, state)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "_on_epoch", kill_at_the_fourth)
        with pytest.raises(KeyboardInterrupt):
            train_jax.main([*options, "--out", str(killed)])
    assert train_jax.main([*options, "--out", str(killed)]) == 0
    assert read(killed)["params_sha256"] == read(whole)["params_sha256"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--optim.schedule", "multi_step"], "does not fit --optim.milestones ()"),
        (["--optim.milestones", "3"], "and the other schedules take none"),
        (["--optim.schedule", "multi_step", "--optim.milestones", "3", "3"], "must be different"),
        (["--optim.schedule", "one_cycle", "--optim.warmup", "0"], "rises over the warm-up"),
        (["--optim.schedule", "exponential"], "needs either --optim.step-every-epochs N or"),
        (["--stop.patience", "-1"], "--stop.patience -1 is too small"),
    ],
)
def test_schedules_that_cannot_work_are_refused(args, message):
    from jaxvit.command_line import parse

    with pytest.raises(UserError, match=None) as error:
        parse(["digits", *args])
    assert message in str(error.value)
