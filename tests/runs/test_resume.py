"""Resuming: a run that is stopped at any step ends with the result of an uninterrupted run."""

import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import train_jax
from jaxvit.command_line import parse
from jaxvit.errors import UserError
from jaxvit.runs.checkpoint import Checkpoints
from jaxvit.runs.comparison import first_difference
from jaxvit.runs.directory import RunDirectory, read_metrics

ROOT = Path(train_jax.__file__).parent


def outcome(path: Path):
    """What must be bitwise equal: parameters, scores, and every logged line except its speed."""
    summary = json.loads((path / "summary.json").read_text())
    scores = {k: v for k, v in summary.items() if k.startswith("test/")}
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for line in (*lines, summary["best"], summary["last"]):
        for speed in ("images_per_sec", "elapsed_sec"):
            line.pop(speed, None)
    return summary["params_sha256"], summary["best"], summary["last"], scores, lines


def stop_at(monkeypatch, step: int, number=signal.SIGTERM) -> None:
    """Sends this process the signal when that step is logged."""
    log = RunDirectory.log

    def log_and_stop(self, at, epoch, metrics):
        log(self, at, epoch, metrics)
        if at == step and "train/loss" in metrics:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(RunDirectory, "log", log_and_stop)


@pytest.mark.slow
def test_a_signal_saves_a_checkpoint_and_the_same_command_resumes(
    uninterrupted, tiny, tmp_path, monkeypatch, capsys
):
    args = [*tiny, "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        stop_at(patch, 10, signal.SIGTERM)
        assert train_jax.main(args) == 143
    # The signal comes while step 10 is logged, and is seen after the next step.
    assert "stopped after step 11 of 39" in capsys.readouterr().err
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    facts = split.pop("facts")
    (tmp_path / "run" / "split.json").write_text(json.dumps(split))  # as an older version began it
    with monkeypatch.context() as patch:
        stop_at(patch, 20, signal.SIGINT)  # an epoch's end
        assert train_jax.main(args) == 130
    lines = read_metrics(tmp_path / "run")
    lines[-1]["elapsed_sec"] += 1000
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "run" / "metrics.jsonl").write_text(text)
    assert train_jax.main(args) == 0
    assert outcome(tmp_path / "run") == outcome(uninterrupted)
    assert json.loads((tmp_path / "run" / "split.json").read_text()) == split | {"facts": facts}
    # The time of every process counts.
    seconds = [line["elapsed_sec"] for line in read_metrics(tmp_path / "run")]
    assert seconds == sorted(seconds)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert 1000 < seconds[-1] < summary["wall_sec"] < 1600


@pytest.mark.slow
def test_a_run_with_augmented_pixels_resumes_to_the_same_bits(
    uninterrupted, tiny, tmp_path, monkeypatch
):
    options = ["--augment.pad", "2", "--augment.rotate", "20",
               "--augment.contrast", "0.4", "--out"]  # fmt: skip
    assert train_jax.main([*tiny, *options, str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 15)
        assert train_jax.main([*tiny, *options, str(tmp_path / "run")]) == 143
    assert train_jax.main([*tiny, *options, str(tmp_path / "run")]) == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    assert outcome(tmp_path / "run")[0] != outcome(uninterrupted)[0]


def full_at(monkeypatch, step: int) -> None:
    """Simulates a full disk from the checkpoint of that step on."""
    save = Checkpoints.save

    def save_with_no_room(self, state, metrics=None):
        if int(state.step) >= step:
            usage = shutil.disk_usage("/")._replace(free=1000)
            monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        return save(self, state, metrics)

    monkeypatch.setattr(Checkpoints, "save", save_with_no_room)


def damage(checkpoint: Path) -> None:
    """Inverts 99 bytes in the middle of every file above 1,000 bytes, as a failing disk might."""
    for path in checkpoint.rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            data = bytearray(path.read_bytes())
            middle = len(data) // 2
            data[middle : middle + 99] = bytes(255 - byte for byte in data[middle : middle + 99])
            path.write_bytes(bytes(data))


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    uninterrupted, tiny, tmp_path, monkeypatch, capsys
):
    args = [*tiny, "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        stop_at(patch, 15)
        train_jax.main(args)
    newest = tmp_path / "run" / "checkpoints" / "16"
    damage(newest)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 17, "epoch": 1, "train/lo')  # and a truncated line
    capsys.readouterr()
    assert train_jax.main(args) == 0
    printed = capsys.readouterr().out.replace("\n", "")
    assert "checkpoints/16 is damaged and not used" in printed
    assert "after step 12" in printed
    assert (tmp_path / "run" / "damaged" / "16").is_dir()  # moved, not deleted
    assert outcome(tmp_path / "run") == outcome(uninterrupted)


@pytest.mark.slow
def test_repeated_steps_have_one_tensorboard_event_each(tiny, tmp_path, monkeypatch):
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    args = [*tiny, "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        stop_at(patch, 15)
        train_jax.main(args)
    damage(tmp_path / "run" / "checkpoints" / "16")  # steps 13 to 16 are repeated
    time.sleep(1.1)  # event files are named by the second
    assert train_jax.main(args) == 0
    events = event_accumulator.EventAccumulator(str(tmp_path / "run")).Reload()
    steps = [event.step for event in events.Scalars("train/loss")]
    assert steps == sorted(set(steps))
    assert {15, 20, 39} <= set(steps)


def test_a_killed_run_resumes_with_the_same_result(uninterrupted, tiny, tmp_path):
    """One SIGKILL of a subprocess; tests/kill_and_resume.py sends ten."""
    out = tmp_path / "run"
    command = [sys.executable, str(ROOT / "train_jax.py"), *tiny, "--out", str(out)]
    # Optimisations change rounding, so the killed run compiles as the reference did.
    quick = str(int(jax.config.read("jax_disable_most_optimizations")))
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": quick}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    metrics = out / "metrics.jsonl"
    while process.poll() is None and not (
        metrics.exists() and len(metrics.read_text().splitlines()) > 3
    ):
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (out / "summary.json").exists()
    assert train_jax.main([*tiny, "--out", str(out), "--resume"]) == 0
    assert outcome(out) == outcome(uninterrupted)


def test_another_configuration_is_refused_and_its_fields_named(tiny, tmp_path, monkeypatch, capsys):
    args = [*tiny, "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        train_jax.main(args)
    capsys.readouterr()
    assert train_jax.main([*args, "--optim.lr", "0.5", "--seed", "3"]) == 2
    error = capsys.readouterr().err
    assert "another configuration (optim.lr 0.004 -> 0.5, seed 0 -> 3)" in error
    split = tmp_path / "run" / "split.json"
    whole = split.read_text()
    for old, new, difference in (
        ("digits/0001", "digits/9999", "digits/0001 is new in"),
        (next(iter(json.loads(whole)["train"].values())), "0123abcd", "has other pixels"),
        ('"val"', '"validation"', "its split.json has no val"),
        ("{", "", "cannot be read (Extra data"),
    ):
        split.write_text(whole.replace(old, new, 1))
        assert train_jax.main(args) == 2
        (error,) = capsys.readouterr().err.splitlines()
        assert difference in error


def test_a_run_directory_in_use_is_refused(tiny, tmp_path, capsys):
    """A second run is refused at once, whatever its options, and does not change the first."""
    args = [*tiny, "--out", str(tmp_path / "run")]
    with RunDirectory(parse(args)[1]):
        for more in ([], ["--overwrite"], ["--seed", "1"]):
            assert train_jax.main([*args, *more]) == 2
            assert "is in use by a run that has not ended" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_damaged_metrics_and_scores_do_not_stop_a_resumed_run(
    uninterrupted, tiny, tmp_path, monkeypatch, capsys
):
    args = [*tiny, "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        stop_at(patch, 30)
        train_jax.main(args)
    with (tmp_path / "run" / "metrics.jsonl").open("ab") as file:
        file.write(b'5\n{}\n{"step": "x"}\n\xff\xfe\n[1')
    score = tmp_path / "run" / "checkpoints" / "20" / "metrics" / "metrics"
    score.write_text("{}")
    capsys.readouterr()
    assert train_jax.main(args) == 0
    assert "checkpoints/20 is damaged and not used (its score" in capsys.readouterr().out
    assert outcome(tmp_path / "run")[-1] == outcome(uninterrupted)[-1]


def test_resume_without_a_run_is_refused(tiny, tmp_path, capsys):
    assert train_jax.main([*tiny, "--out", str(tmp_path / "none"), "--resume"]) == 2
    assert "holds no run to continue" in capsys.readouterr().err
    assert train_jax.main([*tiny, "--resume", "--overwrite"]) == 2
    assert "--resume keeps the run" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_stops_the_run_at_its_step(tiny, tmp_path, capsys):
    args = [*tiny, "--out", str(tmp_path / "run"), "--optim.lr", "1e25"]
    assert train_jax.main([*args, "--optim.warmup", "0", "--optim.clip-norm", "0"]) == 3
    error = capsys.readouterr().err
    assert "the loss is nan at step 2" in error
    assert "(learning rate near " in error
    assert "lower --optim.lr 1e+25" in error
    assert "no checkpoint had been written yet" in error
    assert "--optim.clip-norm 1" in error
    lines = (tmp_path / "run" / "metrics.jsonl").exists()
    assert not lines  # a step whose loss is not finite is not logged
    assert not list((tmp_path / "run" / "checkpoints").glob("[0-9]*"))


@pytest.mark.slow
def test_the_advice_after_a_divergence_can_be_followed(tiny, tmp_path, monkeypatch, capsys):
    run, step = str(tmp_path / "run"), train_jax.compile_train_step
    args = [*tiny, "--model.dropout", "0", "--optim.clip-norm", "0", "--optim.clip-value", "1"]

    def compile_diverging(*args):
        plain = step(*args)

        def diverging(state, batch):
            number = int(state.step)
            state, metrics = plain(state, batch)
            return state, metrics | ({"loss": jnp.float32(math.nan)} if number == 22 else {})

        return diverging

    with monkeypatch.context() as patch:
        patch.setattr(train_jax, "compile_train_step", compile_diverging)
        assert train_jax.main([*args, "--out", run]) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--optim.clip-norm" not in error  # it is refused beside --optim.clip-value
    assert "with another --out or --overwrite; the checkpoint of step 20 is from before it" in error
    assert train_jax.main([*args, "--optim.lr", "1e-4", "--out", str(tmp_path / "lower")]) == 0


@pytest.mark.slow
def test_a_full_disk_ends_the_run_in_one_line_and_it_resumes_when_there_is_room(
    tiny, uninterrupted, tmp_path, monkeypatch, capsys
):
    args = [*tiny, "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        full_at(patch, 16)
        assert train_jax.main(args) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "a checkpoint of 0.1 MB does not fit under" in error
    assert train_jax.main(args) == 0
    assert "after step 12" in capsys.readouterr().out
    assert outcome(tmp_path / "run") == outcome(uninterrupted)


@pytest.mark.slow
def test_a_write_that_fails_half_way_is_named(tiny, uninterrupted, tmp_path):
    """With files limited to 99 kB, which metrics.jsonl does not reach and a checkpoint exceeds."""
    out, larger = tmp_path / "run", ["--model.embed-dim", "64"]
    command = [sys.executable, str(ROOT / "train_jax.py"), *tiny, *larger, "--out", str(out)]
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 99; exec {shlex.join(command)}"],
        env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    # tensorstore's threads print their own errors before ours.
    error = done.stderr.splitlines()[-1]
    assert error.startswith("error: a checkpoint under")
    assert "could not be written (Failed to write" in error
    assert "File too large" in error


def test_as_many_checkpoints_are_kept_as_asked(tiny, tmp_path):
    args = [*tiny, "--out", str(tmp_path / "run"), "--checkpoint.keep", "4"]
    assert train_jax.main(args) == 0
    kept = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert {"28", "32", "36", "39"} <= kept


@pytest.mark.slow
def test_as_many_of_the_best_checkpoints_are_kept_as_asked(tiny, tmp_path):
    args = [*tiny, "--epochs", "3", "--checkpoint.keep", "1", "--checkpoint.keep-best", "3"]
    assert train_jax.main([*args, "--out", str(tmp_path / "run")]) == 0
    kept = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert kept == {"20", "39", "58"}  # the ends of all epochs


def test_another_order_of_the_same_images_is_a_difference():
    before = {"class_names": ["a"], "train": {"x": "1", "y": "2"}, "val": {}, "test": {}}
    now = before | {"train": {"y": "2", "x": "1"}}
    assert first_difference(before, before) is None
    assert first_difference(before, now) == "the order of train"


def test_other_names_of_the_classes_are_a_difference():
    before = {"class_names": ["a", "b"], "train": {"x": "1"}, "val": {}, "test": {}}
    assert first_difference(before, before | {"class_names": ["b", "a"]}) == "other classes"


def test_everything_that_a_run_leaves_is_taken_for_its_own(tiny, tmp_path):
    _, config = parse([*tiny, "--out", str(tmp_path / "run")])
    with RunDirectory(config) as directory:
        directory.open({"class_names": []})
    for name in ("checkpoints", "damaged", "plots", "sketches", "wandb"):
        (tmp_path / "run" / name).mkdir(exist_ok=True)
    names = (
        "metrics.jsonl", ".metrics.jsonl.partial-12", "summary.json.partial", "extended.json",
        "summary-2-epochs.json", "events.out.tfevents.1.host", "report.html", "test_outputs.npz",
        "weights.txt",
    )  # fmt: skip
    for name in names:
        (tmp_path / "run" / name).touch()
    with RunDirectory(config) as directory:
        assert directory.resumes
    (tmp_path / "run" / "damaged.txt").touch()
    with pytest.raises(UserError, match="holds 'damaged.txt'"), RunDirectory(config):
        pass
