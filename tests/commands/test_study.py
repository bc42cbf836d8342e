"""python -m jaxvit study: one real study, stopped by Ctrl-C, killed, and finished."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from jaxvit.studies.conduct import duration
from jaxvit.studies.launch import PROGRAM
from tests.commands.conftest import command

STUDY = """
from jaxvit.studies.study import Study

SMALL = ("digits", "--model.embed-dim", "16", "--model.num-layers", "1", "--batch-size", "32")
STUDY = Study(
    name="tiny",
    question="Does the study work?",
    configurations={
        "none": (*SMALL, "--label-smoothing", "0"),
        "much": (*SMALL, "--label-smoothing", "0.4"),
    },
    baseline="none",
    seeds=2,
    reliability=True,
)
"""
EXTRA = ("--epochs", "4", "--log-every-steps", "2", "--optim.warmup", "0")

pytestmark = pytest.mark.slow  # nine processes train, one after the other


class Done(NamedTuple):
    """What happened: the study's directory, and how the first two commands ended."""

    file: Path
    out: Path
    interrupted: subprocess.CompletedProcess
    first_log: str  # of the first run, after both
    reference: dict  # summary of the first run's uninterrupted twin


def start(file: Path, root: Path) -> subprocess.Popen:
    args = ["study", str(file), "--out", str(root), "--", *EXTRA]
    return subprocess.Popen(
        [sys.executable, "-m", "jaxvit", *args],
        cwd=PROGRAM.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_step(process: subprocess.Popen, run: Path, after: int = 0) -> int:
    """Until the run has logged a later step and holds a checkpoint; returns the last step."""
    while True:
        assert process.poll() is None, process.communicate()
        metrics = run / "metrics.jsonl"
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        step = json.loads(lines[-2])["step"] if len(lines) > 1 else 0
        if step > after and list((run / "checkpoints").glob("[0-9]*")):
            return step
        time.sleep(0.002)


def children(process: subprocess.Popen) -> list[int]:
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(number) for number in text.split()]


def alive(number: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def done(_quick_compilation, tmp_path_factory) -> Done:
    if not Path("/proc/self/task").is_dir():
        pytest.skip("the processes of a study are looked up in /proc")
    root = tmp_path_factory.mktemp("studies")
    file, first = root / "tiny.py", root / "out" / "tiny" / "none" / "seed-0"
    file.write_text(STUDY)

    process = start(file, root / "out")
    step = wait_for_step(process, first)
    (child,) = children(process)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)
    interrupted = subprocess.CompletedProcess([], process.returncode, *said)
    assert not alive(child)
    assert not (first / "summary.json").exists()

    process = start(file, root / "out")
    wait_for_step(process, first, after=step + 2)
    (child,) = children(process)
    process.kill()
    os.kill(child, signal.SIGKILL)
    process.communicate()
    assert not (first / "summary.json").exists()

    args = ("study", file, "--out", root / "out", "--", *EXTRA)
    assert command(*args) == 0
    config = json.loads((first / "config.json").read_text())
    assert config["seed"] == 0
    options = ["digits", "--model.embed-dim", "16", "--model.num-layers", "1", "--batch-size", "32",
               "--label-smoothing", "0", *EXTRA, "--out", str(root / "whole")]  # fmt: skip
    subprocess.run([sys.executable, str(PROGRAM), *options], check=True, stdout=subprocess.DEVNULL)
    reference = json.loads((root / "whole" / "summary.json").read_text())
    log = (first.parent / "seed-0.log").read_text()
    return Done(file, root / "out" / "tiny", interrupted, log, reference)


def summaries(done: Done) -> dict[tuple[str, int], dict]:
    return {
        (label, seed): json.loads((done.out / label / f"seed-{seed}" / "summary.json").read_text())
        for label in ("none", "much")
        for seed in (0, 1)
    }


def test_ctrl_c_is_one_line_and_the_run_has_saved_its_state(done):
    assert done.interrupted.returncode == 130
    (line,) = done.interrupted.stderr.splitlines()
    assert line == "stopped: finished runs are kept, and the same command resumes the others"
    assert "Traceback" not in done.interrupted.stdout
    assert "with everything saved in" in done.first_log


def test_a_run_that_was_stopped_and_killed_ends_with_the_same_parameters(done):
    assert done.first_log.count("resuming") == 2
    found = summaries(done)[("none", 0)]
    assert found["params_sha256"] == done.reference["params_sha256"]
    assert found["test/loss"] == done.reference["test/loss"]


def test_seeds_and_options_reach_every_run(done):
    for (label, seed), summary in summaries(done).items():
        run = done.out / label / f"seed-{seed}"
        config = json.loads((run / "config.json").read_text())
        assert config["seed"] == seed
        assert config["label_smoothing"] == {"none": 0, "much": 0.4}[label]
        assert config["optim"]["warmup"] == 0
        assert summary["epochs"] == 4
    assert len({summary["params_sha256"] for summary in summaries(done).values()}) == 4


def test_the_table_is_what_the_summaries_say(done):
    found = summaries(done)
    values = json.loads((done.out / "study.json").read_text())
    with (done.out / "study.csv").open() as file:
        lines = {(line["metric"], line["configuration"]): line for line in csv.DictReader(file)}
    paths = {"accuracy": "test/accuracy", "NLL": "test/loss", "ECE": "test/ece",
             "confidence": "test/mean_confidence"}  # fmt: skip
    assert len(values["table"]) == len(lines) == 8
    for row in values["table"]:
        name, label = paths[row["metric"]], row["label"]
        mine = np.array([found[label, seed][name] for seed in (0, 1)])
        base = np.array([found["none", seed][name] for seed in (0, 1)])
        line = lines[row["metric"], label]
        expected = stats.ttest_1samp(mine, 0).confidence_interval(0.95)
        assert row["mean"]["n"] == int(line["n"]) == 2
        assert row["mean"]["mean"] == float(line["mean"]) == pytest.approx(mine.mean())
        assert [row["mean"]["low"], row["mean"]["high"]] == pytest.approx(list(expected))
        if label == "none":
            assert row["difference"] is None
            assert line["difference"] == ""
            continue
        expected = stats.ttest_rel(mine, base).confidence_interval(0.95)
        assert row["difference"]["mean"] == pytest.approx((mine - base).mean())
        limits = [float(line["difference_low"]), float(line["difference_high"])]
        assert limits == pytest.approx(list(expected))
        assert [row["difference"]["low"], row["difference"]["high"]] == limits
    text = (done.out / "study.md").read_text()
    accuracy = np.mean([found["much", seed]["test/accuracy"] for seed in (0, 1)])
    assert f"| accuracy | much | 2 | {accuracy:.2%} |" in text
    assert f"study {done.file} --seeds 2 -- {' '.join(EXTRA)}" in text
    assert (done.out / "study.png").stat().st_size > 20_000


def test_the_reliability_is_that_of_the_scored_weights(done):
    values = json.loads((done.out / "study.json").read_text())
    assert len(values["runs"]) == 4
    for each in values["runs"]:
        summary, bins = summaries(done)[each["label"], each["seed"]], each["reliability"]
        number, confidence, right = (
            np.array(bins[name]) for name in ("bin_count", "bin_confidence", "bin_correct")
        )
        n = summary["images"]["test"]
        assert number.sum() == n
        assert right.sum() / n == pytest.approx(summary["test/accuracy"], abs=1.5 / n)
        ece = np.abs(right - confidence).sum() / n
        assert ece == pytest.approx(summary["test/ece"], abs=3 / n)
        assert each["test/ece"] == summary["test/ece"]


def test_the_report_alone_trains_nothing_and_keeps_the_reliability(done, capsys):
    before = {path: path.stat().st_mtime_ns for path in done.out.glob("*/*/summary.json")}
    values = (done.out / "study.json").read_text()
    first = done.out / "none" / "seed-0" / "checkpoints"
    first.rename(first.with_name("damaged"))  # its bins are in study.json already
    try:
        options = (done.file, "--out", done.out.parent, "--report", "--", *EXTRA)
        assert command("study", *options) == 0
    finally:
        first.with_name("damaged").rename(first)
    assert (done.out / "study.json").read_text() == values
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "everything is in" in capsys.readouterr().out


def test_a_forecast_counts_what_is_finished(done, capsys):
    options = ("--out", done.out.parent, "--seeds", "3", "--dry-run", "--", *EXTRA)
    assert command("study", done.file, *options) == 0
    said = capsys.readouterr().out
    assert said.count("2 finished run(s)") == 2
    found = summaries(done)
    each = [np.median([found[label, seed]["wall_sec"] for seed in (0, 1)])
            for label in ("none", "much")]  # fmt: skip
    assert f"about {duration(sum(each))}, at most" in said
    assert not (done.out / "none" / "seed-2").exists()


def test_other_options_are_refused_in_one_line(done, capsys):
    options = ("--out", done.out.parent, "--", *EXTRA, "--optim.lr", "0.1")
    assert command("study", done.file, *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: 4 of 4 runs are of another configuration, such as ")
    assert "(optim.lr 0.004 -> 0.1): choose another --out" in line


def test_a_study_without_a_finished_run_has_no_table(done, tmp_path, capsys):
    assert command("study", done.file, "--out", tmp_path, "--report") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: no run of tiny is finished in {tmp_path}/tiny")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("nope",), "unknown study 'nope': choose one of smoothing, smoothing-pets, "),
        (("smoothing", "--seeds", "0"), "--seeds 0 is too small"),
        (("smoothing", "--dry-run", "--report"), "give one of them"),
        (("smoothing-pets",), "needs pretrained weights: give --init.weights PATH"),
        (("smoothing", "--epochs", "3"), "Unrecognized options: --epochs"),
        (("smoothing", "--", "--seed", "1"), "give --seeds N before the --"),
    ],
)
def test_a_command_that_cannot_work_is_one_line(args, says, tmp_path, capsys):
    first, *rest = args
    assert command("study", first, "--out", tmp_path / "out", *rest) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert not (tmp_path / "out").exists()
