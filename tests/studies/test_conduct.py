"""Which runs are started, in which order, with what; without training any."""

import os
import re
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest
from filelock import FileLock
from rich.console import Console

from jaxvit.command_line import parse
from jaxvit.config import Config
from jaxvit.errors import Interrupted
from jaxvit.runtime.interrupt import StopSignals
from jaxvit.studies import conduct as module
from jaxvit.studies import launch
from jaxvit.studies.conduct import conduct, seconds_of, time_left
from jaxvit.studies.launch import Ended, last_line, train, wait_for_others
from jaxvit.studies.plan import is_finished, plan_runs
from jaxvit.studies.study import Metric
from tests.studies.conftest import pretend


@pytest.fixture
def started(monkeypatch) -> list:
    """What was started: (run, further arguments). A run named in `failing` fails."""
    found = []

    def fake(run, more, stop):
        found.append((str(run), more))
        if str(run) in failing:
            return Ended("the loss is nan", 1.0)
        pretend(run if run.config else run._replace(config=Config()))
        return Ended(None, 10.0)

    failing = {"none, seed 1"}
    monkeypatch.setattr(module, "train", fake)
    return found


def run_all(runs, study, overwrite=False):
    console = Console(markup=False, width=200)
    with StopSignals() as stop:
        return conduct(runs, overwrite, study.metrics, console, stop)


def test_a_failing_run_is_said_and_the_others_go_on(runs, study, started, capsys):
    failures = run_all(runs, study)
    assert {str(run): reason for run, reason in failures.items()} == {
        "none, seed 1": "the loss is nan"
    }
    assert len(started) == 6
    said = capsys.readouterr().out
    assert "none, seed 1: FAILED: the loss is nan" in said
    assert "much, seed 2: accuracy 50.0%, validation loss 1.000; 1 min 0 s" in said


def test_a_run_is_not_started_before_what_it_starts_from_is_finished(
    chain, started, tmp_path, capsys
):
    """Its weights would be those of half a training, and its figures stay in the table."""
    runs = plan_runs(chain, 2, tmp_path, (), parse)
    runs[0] = runs[0]._replace(label="none", seed=1)  # which fails
    chain = chain._replace(metrics=(Metric("wall_sec", "seconds"),))
    failures = run_all(runs, chain)
    assert list(failures) == [runs[0], runs[1]]
    assert failures[runs[1]] == "a run that it starts from is not finished"
    assert [name for name, _ in started] == ["none, seed 1", "first, seed 1", "second, seed 1"]
    assert "second, seed 0: not started: a run that it starts" in capsys.readouterr().out


def test_finished_runs_are_not_started_again(runs, study, started, capsys):
    pretend(runs[0])
    pretend(runs[3])
    run_all(runs, study)
    assert [name for name, _ in started] == [str(runs[index]) for index in (1, 2, 4, 5)]
    said = capsys.readouterr().out
    assert "2 of 6 runs are finished already" in said
    # The finished runs say that they took 60 s; those that are trained take 10 s.
    left = [line.partition("; about ")[2] for line in said.splitlines() if "1 min 0 s" in line]
    assert left == ["2 min 35 s left", "35 s left", ""]


def test_only_runs_of_another_configuration_are_overwritten(runs, study, started, tmp_path):
    pretend(runs[0])
    changed = plan_runs(study, 1, tmp_path / "two", ("--epochs", "5"), parse)
    pretend(changed[1])
    run_all(runs[:3], study, overwrite=True)
    assert started == [(str(runs[1]), ("--overwrite",)), (str(runs[2]), ())]
    assert is_finished(runs[1])


def test_the_time_left_is_that_of_each_configuration(runs):
    took = {"none": [10.0, 30.0, 20.0], "much": [100.0]}
    assert time_left(runs[2:], took) == "; about 4 min 0 s left"
    assert time_left(runs[:2], {"none": [10.0]}) == "; about 20 s left"
    assert time_left([], took) == time_left(runs, {}) == ""


def test_finished_runs_say_what_they_took(runs):
    pretend(runs[0])
    assert seconds_of(runs[:2]) == {"none": [60.0]}


def test_a_run_that_another_process_trains_is_waited_for(runs):
    run = runs[0]
    run.path.parent.mkdir(parents=True)
    with StopSignals() as stop:
        assert not wait_for_others(run, stop)
        lock = FileLock(run.path.with_name(".seed-0.lock"), thread_local=False)
        lock.acquire()
        released = []

        def release():
            time.sleep(0.3)
            released.append(True)
            lock.release()

        thread = threading.Thread(target=release)
        thread.start()
        assert wait_for_others(run, stop)
        assert released
        thread.join()


def test_a_run_that_another_process_left_unfinished_is_trained(runs, study, started, monkeypatch):
    monkeypatch.setattr(module, "wait_for_others", lambda run, stop: True)
    run_all(runs, study)
    assert [name for name, _ in started] == [str(run) for run in runs]


def test_a_run_that_another_process_has_finished_is_not_trained(runs, study, started, monkeypatch):
    monkeypatch.setattr(module, "wait_for_others", lambda run, stop: pretend(run) or True)
    assert not run_all(runs, study)
    assert not started


def test_the_process_of_a_run_gets_no_signal_of_the_terminal(tmp_path):
    """Only ours, once: a second one would end it before its state is saved."""
    with launch.started(("--help",), tmp_path / "log") as process:
        assert os.getpgid(process.pid) == process.pid != os.getpgrp()


def test_a_signal_while_waiting_ends_the_study(runs):
    runs[0].path.parent.mkdir(parents=True)
    lock = FileLock(runs[0].path.with_name(".seed-0.lock"), thread_local=False)
    with lock, StopSignals() as stop:
        stop.should_stop(0)
        stop.receive(2)
        ends = threading.Timer(10, lock.release)
        ends.start()
        with pytest.raises(Interrupted, match="finished runs are kept") as caught:
            wait_for_others(runs[0], stop)
        ends.cancel()
    assert caught.value.exit_code == 130


def test_a_signal_ends_the_process_of_the_run(runs, monkeypatch):
    started, popen = [], subprocess.Popen

    def keep(*args, **kwargs):
        started.append(popen(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", keep)
    with StopSignals() as stop:
        stop.should_stop(0)
        stop.receive(2)
        with pytest.raises(Interrupted):
            train(runs[0], (), stop)
    (process,) = started
    ended = process.poll()
    process.kill()
    assert ended is not None


def test_the_last_line_of_a_failing_process_says_why(runs):
    """A real process: the place of the run is a file."""
    run = runs[0]
    run.path.parent.mkdir(parents=True)
    run.path.write_text("")
    with StopSignals() as stop:
        ended = train(run, (), stop)
    assert re.match(r"--out .*seed-0 exists and is not a run directory", ended.failure)
    assert "error: --out" in run.log.read_text()


def test_a_failure_is_told_by_its_last_line(tmp_path):
    log = tmp_path / "log"
    log.write_text("epoch 1\nerror: the disk is full\n\n")
    assert last_line(log) == "the disk is full"
    log.write_text("")
    assert last_line(log) == "it said nothing"


def test_further_arguments_reach_the_process(runs, monkeypatch):
    given = []
    process = SimpleNamespace(returncode=0, poll=lambda: 0)
    monkeypatch.setattr(subprocess, "Popen", lambda args, **_: given.append(args) or process)
    with StopSignals() as stop:
        train(runs[0], ("--overwrite",), stop)
    assert given[0][2:] == [*runs[0].args, "--overwrite"]
