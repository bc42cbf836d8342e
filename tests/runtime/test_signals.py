"""Ctrl-C and SIGTERM at any moment of start-up: one line, exit code 130 or 143, nothing lost."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import train_jax
from jaxvit.runtime import interrupt, startup

PROGRAM = str(Path(train_jax.__file__))
OPTIONS = [
    "--epochs", "200", "--model.embed-dim", "16", "--model.num-layers", "1",
    "--log-every-steps", "1",
]  # fmt: skip


def start(out: Path, programs: Path, cache: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, PROGRAM, *OPTIONS, "--out", str(out), "--data.cache-dir", str(cache)],
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(programs)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def seconds_to_the_first_step(out: Path, programs: Path, cache: Path) -> float:
    """From the start of the process until a step has been logged; it is then killed."""
    began, process = time.perf_counter(), start(out, programs, cache)
    while not (out / "metrics.jsonl").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    seconds = time.perf_counter() - began
    process.kill()
    process.communicate()
    return seconds


@pytest.mark.slow
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_a_signal_at_any_of_20_moments_is_one_line(tmp_path, warm):
    """Twenty moments, evenly spaced from the program's first line to its first steps.

    Warm: compiled programs are cached. Cold: none is, so most moments fall into compilation.
    """
    programs, cache = tmp_path / "programs", tmp_path / "cache"
    total = seconds_to_the_first_step(tmp_path / "first", programs, cache)
    if warm:
        total = seconds_to_the_first_step(tmp_path / "second", programs, cache)
    out = tmp_path / "run"
    endings = []
    for moment in range(20):
        number = (signal.SIGINT, signal.SIGTERM)[moment % 2]
        where = programs if warm else tmp_path / f"programs{moment}"
        process = start(out, where, cache)
        # Python takes more than 0.1 s to reach the program's first line.
        time.sleep(0.15 + moment / 19 * (total + 0.5 - 0.15))
        process.send_signal(number)
        printed, error = process.communicate(timeout=60)
        endings.append((moment, process.returncode, error))
        assert process.returncode == 128 + number, endings
        (line,) = error.splitlines()
        assert line.startswith("stopped"), endings
        assert "Traceback" not in printed
        assert "Traceback" not in error
        assert not list(tmp_path.glob(".run.*")), "a lock or a half-written run is left"
    # The same command resumes the run, so its files are intact.
    process = start(out, programs, cache)
    while "resuming" not in (line := process.stdout.readline()):
        if line.startswith("epoch"):
            break
        assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    lines = (out / "metrics.jsonl").read_text().splitlines()
    assert all(json.loads(line)["step"] for line in lines[:-1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("program", [[PROGRAM], ["-m", "jaxvit"]], ids=["train_jax", "commands"])
def test_a_signal_before_there_are_handlers_is_one_line(program, number, tmp_path):
    """It comes while the module of the handlers is imported, in the program's first lines."""
    script = (
        "import os, runpy, sys\n"
        "class Signal:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'jaxvit.runtime.interrupt':\n"
        f"            os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Signal())\n"
        "if sys.argv[1] == '-m':\n"
        "    runpy.run_module(sys.argv[2], run_name='__main__')\n"
        "runpy.run_path(sys.argv[1], run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *program],
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(PROGRAM).parent)},
    )  # fmt: skip
    assert done.returncode == 128 + number, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("stopped")


@pytest.fixture
def called(monkeypatch) -> list[str]:
    """What of signals and threads is called, without effect on this process."""
    names = []

    def note(name: str):
        return lambda *_, **options: names.append(name) or SimpleNamespace(start=lambda: None)

    for name in ("signal", "pthread_sigmask", "set_wakeup_fd"):
        monkeypatch.setattr(interrupt.signal, name, note(name))
    monkeypatch.setattr(interrupt, "threading", SimpleNamespace(Thread=note("thread")))
    for name, value in (("_handling", False), ("_watching", False), ("_last_line", "")):
        monkeypatch.setattr(interrupt, name, value)
    return names


def test_a_program_begins_without_a_thread(called):
    """Its heap would be shared with XLA's threads: see jaxvit.runtime.memory."""
    try:
        startup.begin("stopped here")
    finally:
        gc.enable()
    assert called == ["signal", "signal", "pthread_sigmask"]
    assert interrupt._last_line == "stopped here"


def test_a_thread_waits_for_signals_from_then_on(called):
    interrupt.watch_for_signals()
    assert called == []  # in another program, whose handlers stay
    interrupt.exit_on_signals()
    called.clear()
    interrupt.watch_for_signals()
    assert called == ["thread", "set_wakeup_fd", "signal", "signal"]
    interrupt.watch_for_signals()
    assert len(called) == 4


def test_a_signal_ends_a_process_that_waits_in_a_library():
    """There the main thread runs no Python: it waits for a lock of C for ever."""
    script = (
        "import ctypes\n"
        "from jaxvit.runtime import interrupt, startup\n"
        "startup.begin('stopped there')\n"
        "interrupt.watch_for_signals()\n"
        "lock, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)\n"
        "libc.pthread_mutex_lock(lock)\n"
        "print('waits', flush=True)\n"
        "libc.pthread_mutex_lock(lock)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "waits\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    try:
        error = process.communicate(timeout=20)[1]
    finally:
        process.kill()
    assert (process.returncode, error) == (143, "stopped there\n")


@pytest.mark.slow
def test_a_second_signal_in_training_exits_at_once(tmp_path):
    """The first signal waits for the end of its step, which does not end here."""
    script = (
        "import os, runpy, signal, sys, time\n"
        "from jaxvit.runs.directory import RunDirectory\n"
        "log = RunDirectory.log\n"
        "def log_and_hang(self, step, epoch, metrics):\n"
        "    log(self, step, epoch, metrics)\n"
        "    if step == 3:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(0.5)\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(60)\n"
        "RunDirectory.log = log_and_hang\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script, PROGRAM, *OPTIONS, "--out", str(tmp_path / "run"),
         "--data.cache-dir", str(tmp_path / "cache")],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert time.perf_counter() - began < 50
    assert done.returncode == 143, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("stopped")
