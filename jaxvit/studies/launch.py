"""One run, started as a user would start it: python train_jax.py PRESET --option value ..."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jaxvit
from jaxvit.errors import Interrupted
from jaxvit.paths import one_line
from jaxvit.runs.directory import is_in_use
from jaxvit.runtime.interrupt import StopSignals
from jaxvit.studies.plan import Run

PROGRAM = Path(jaxvit.__file__).resolve().parent.parent / "train_jax.py"
POLL_SEC = 0.1


class Ended(NamedTuple):
    """How a process ended.

    Attributes:
      failure: None, or one line that says why.
      seconds: that it took, with its start-up.
    """

    failure: str | None
    seconds: float


@contextlib.contextmanager
def started(args: tuple[str, ...], log: Path) -> Iterator[subprocess.Popen]:
    """train_jax.py as a process, which has ended when the block has.

    It has a process group of its own, so that Ctrl-C on the terminal reaches it once, through us:
    a second signal would end it before its state is saved.

    Args:
      args: of the command line.
      log: its output is added to this file.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *args],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait()


def train(run: Run, more: tuple[str, ...], stop: StopSignals) -> Ended:
    """Trains until the end.

    Args:
      run: unfinished, or not begun.
      more: further arguments, such as --overwrite.
      stop: entered.

    Raises:
      Interrupted: a signal came; the run has saved its state and ended.
    """
    began = time.perf_counter()
    with started((*run.args, *more), run.log) as process:
        while process.poll() is None:
            check_signals(stop)
            wait(process)
    failure = None if process.returncode == 0 else _reason(process.returncode, run.log)
    return Ended(failure, time.perf_counter() - began)


def wait(process: subprocess.Popen) -> None:
    """For its end, but not longer than until signals should be looked at again."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(POLL_SEC)


def check_signals(stop: StopSignals) -> None:
    """Raises Interrupted if a signal came."""
    if stop.should_stop(0):
        raise Interrupted(
            "stopped: finished runs are kept, and the same command resumes the others", stop.agreed
        )


def wait_for_others(run: Run, stop: StopSignals) -> bool:
    """Until no other process trains this run; returns whether one did.

    A study that was killed leaves its last run behind, which trains to its end.

    Raises:
      Interrupted: a signal came.
    """
    found = False
    while is_in_use(run.path):
        found = True
        check_signals(stop)
        time.sleep(POLL_SEC)
    return found


def last_line(log: Path) -> str:
    """Of what a process said; without the word that marks an error."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    last = one_line(lines[-1].strip()) if lines else "it said nothing"
    return last.removeprefix("error: ")


def _reason(code: int, log: Path) -> str:
    name = f"{signal.Signals(-code).name} ended it after: " if code < 0 else ""
    return name + last_line(log)
