"""How long a study will take and what it will hold on disk, before it is begun."""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxvit.errors import UserError
from jaxvit.runtime.interrupt import StopSignals
from jaxvit.studies.launch import POLL_SEC, check_signals, last_line, started
from jaxvit.studies.plan import Run
from jaxvit.training.fit import Plan

TRIAL_SEC = 15.0  # from the first step that is logged


class Estimate(NamedTuple):
    """Of one run.

    Attributes:
      seconds: from the start of its process to its end.
      bytes: of its directory; None where nothing is known.
    """

    seconds: float
    bytes: int | None


def try_run(run: Run, stop: StopSignals, limit_sec: float = TRIAL_SEC) -> Estimate:
    """Trains the run itself elsewhere for some seconds, and extrapolates.

    T = t_0 + (S - s_0) (t_1 - t_0) / (s_1 - s_0), for S steps in all and steps s_0, s_1 that were
    logged t_0, t_1 seconds after the start. t_0 holds what a first run pays and others find in the
    caches: compilation, decoding, features. A run that reaches its end is its own estimate.

    Args:
      run: what is trained is thrown away.
      stop: entered.
      limit_sec: of training.

    Raises:
      UserError: it failed.
      Interrupted: a signal came.
    """
    with tempfile.TemporaryDirectory(prefix="jaxvit-trial-") as directory:
        out, log = Path(directory) / "run", Path(directory) / "run.log"
        began, seen = time.perf_counter(), []  # (seconds, step)
        with started((*run.args, "--out", str(out)), log) as process:
            while process.poll() is None:
                check_signals(stop)
                now, step = time.perf_counter() - began, last_step(out)
                if step and (not seen or step > seen[-1][1]):
                    seen.append((now, step))
                if seen and now - seen[0][0] > limit_sec and len(seen) > 1:
                    process.kill()
                    process.wait()
                    break
                time.sleep(POLL_SEC / 10)
            else:
                if process.returncode:
                    raise UserError(f"a trial of {run} failed: {last_line(log)}")
                return Estimate(time.perf_counter() - began, size_of(out))
        return Estimate(extrapolate(seen, total_steps(run, out)), _whole_size(run, out))


def extrapolate(seen: Sequence[tuple[float, int]], total: int) -> float:
    """
    Example:
      >>> extrapolate([(4.0, 10), (5.0, 20), (8.0, 50)], 100)
      13.0
    """
    (first, begin), (last, end) = seen[0], seen[-1]
    return first + (total - begin) * (last - first) / (end - begin)


def total_steps(run: Run, out: Path) -> int:
    """Of the whole run, as planned for the images that a trial at `out` found."""
    images = len(json.loads((out / "split.json").read_text())["train"])
    return Plan(images, run.config.batch_size, run.config.epochs).total_steps


def last_step(out: Path) -> int:
    """The last step that was logged, or 0; the last line may be incomplete."""
    metrics = out / "metrics.jsonl"
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    for line in reversed(lines):
        try:
            return int(json.loads(line)["step"])
        except ValueError:
            continue
    return 0


def size_of(path: Path) -> int:
    """Bytes of the files below a directory."""
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def _whole_size(run: Run, out: Path) -> int | None:
    """With all checkpoints that a run may keep, each as large as the largest here."""
    sizes = [size_of(each) for each in (out / "checkpoints").glob("[0-9]*")]
    keep = run.config.checkpoint.keep + run.config.checkpoint.keep_best
    return size_of(out) - sum(sizes) + max(sizes) * keep if sizes else None
