"""What a study will take: runs, time and disk."""

import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from jaxvit.runs.progress import say_on
from jaxvit.runtime.interrupt import StopSignals
from jaxvit.studies.conduct import duration, seconds_of
from jaxvit.studies.plan import Run, can_begin, has_summary, is_finished
from jaxvit.studies.trial import Estimate, size_of, try_run


def forecast(runs: Sequence[Run], out: Path, console: Console, stop: StopSignals) -> float:
    """Prints for each configuration what its runs will take, and the sums.

    A configuration with finished runs takes the median of their times. Of another, one run is
    tried for some seconds: see jaxvit.studies.trial.try_run. One that starts from a run that is not
    finished has no estimate.

    Args:
      runs: of a study.
      out: of the study.
      console: where it is printed.
      stop: entered.

    Returns:
      The seconds that are left.

    Raises:
      UserError: a trial failed.
      Interrupted: a signal came.
    """
    say = say_on(console)
    table = Table(title="runs that are not finished")
    for column in ("configuration", "runs", "finished", "each takes", "measured by"):
        table.add_column(column)
    seconds, size, unknown, later = 0.0, 0, False, []
    for label in dict.fromkeys(run.label for run in runs):
        mine = [run for run in runs if run.label == label]
        finished = [run for run in mine if is_finished(run)]
        left = len(mine) - len(finished)
        if finished:
            took = statistics.median(seconds_of(finished)[label])
            each = Estimate(took, size_of(finished[0].path))
            how = f"{len(finished)} finished run(s)"
        elif not can_begin(mine[0]):
            missing = next(each for each in mine[0].needs if not has_summary(each))
            how = f"unknown until {missing.parent.name} is finished"
            table.add_row(label, str(len(mine)), "0", "?", how)
            later.append(label)
            continue
        else:
            say(f"a trial of {label} ...")
            each, how = try_run(mine[0], stop), "a trial"
        table.add_row(label, str(len(mine)), str(len(finished)), duration(each.seconds), how)
        seconds += left * each.seconds
        size += left * (each.bytes or 0)
        unknown |= each.bytes is None
    console.print(table)
    nearest = next(parent for parent in out.absolute().parents if parent.exists())
    free = shutil.disk_usage(nearest).free
    disk = "disk: unknown" if unknown else f"at most {size / 1e6:,.0f} MB of disk"
    without = f" without {', '.join(later)}" if later else ""
    say(f"about {duration(seconds)}{without}, {disk} ({free / 1e9:,.1f} GB are free)")
    return seconds
