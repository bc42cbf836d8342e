"""Trains what is not finished, one run after the other."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from jaxvit.runs.comparison import differences
from jaxvit.runs.progress import say_on
from jaxvit.runtime.interrupt import StopSignals
from jaxvit.studies.launch import check_signals, train, wait_for_others
from jaxvit.studies.plan import Run, can_begin, is_finished, read_summary
from jaxvit.studies.study import Metric

Seconds = Mapping[str, Sequence[float]]  # what finished runs took, by label


def conduct(
    runs: Sequence[Run],
    overwrite: bool,
    metrics: Sequence[Metric],
    console: Console,
    stop: StopSignals,
) -> dict[Run, str]:
    """Trains every run that is not finished, with a line about each. A failure ends only its run.

    Args:
      runs: of a study, in order.
      overwrite: whether a run of another configuration is replaced.
      metrics: that the lines show.
      console: where progress is shown.
      stop: entered.

    Returns:
      Why a run failed, of those that did.

    Raises:
      Interrupted: a signal came; the run has saved its state.
    """
    say, failures = say_on(console), {}
    left = [run for run in runs if not is_finished(run)]
    took = seconds_of(run for run in runs if run not in left)
    number = len(runs) - len(left)
    if number:
        say(f"{number} of {len(runs)} runs are finished already")
    with _bar(console) as bar:
        task = bar.add_task("", total=len(runs), completed=number, status="")
        for index, run in enumerate(left):
            check_signals(stop)
            bar.update(task, status=str(run))
            if not can_begin(run):
                failures[run] = "a run that it starts from is not finished"
                say(f"{run}: not started: {failures[run]}")
            elif not (wait_for_others(run, stop) and is_finished(run)):
                replaces = overwrite and (not run.config or differences(run.path, run.config))
                ended = train(run, ("--overwrite",) if replaces else (), stop)
                if ended.failure is not None:
                    failures[run] = ended.failure
                    say(f"{run}: FAILED: {ended.failure} (all of it is in {run.log})")
                else:
                    took.setdefault(run.label, []).append(ended.seconds)
            bar.advance(task)
            if run not in failures:
                remaining = time_left(left[index + 1 :], took)
                say(f"{number + index + 1:>3}/{len(runs)}  {_figures(run, metrics)}{remaining}")
    return failures


def seconds_of(finished: Iterable[Run]) -> dict[str, list[float]]:
    """By label, what finished runs say they took: without the start-up of their processes."""
    found: dict[str, list[float]] = {}
    for run in finished:
        seconds = (read_summary(run) or {}).get("wall_sec")
        if isinstance(seconds, (int, float)):
            found.setdefault(run.label, []).append(seconds)
    return found


def time_left(left: Sequence[Run], took: Seconds) -> str:
    """The runs' times, each the median of its configuration's, or of all where it has none."""
    everything = [seconds for each in took.values() for seconds in each]
    if not left or not everything:
        return ""
    total = sum(statistics.median(took.get(run.label) or everything) for run in left)
    return f"; about {duration(total)} left"


def duration(seconds: float) -> str:
    """
    Example:
      >>> duration(8), duration(100), duration(7_500)
      ('8 s', '1 min 40 s', '2 h 5 min')
    """
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _figures(run: Run, metrics: Sequence[Metric]) -> str:
    summary: Mapping[str, Any] = read_summary(run) or {}
    values = {each: each.read(summary, run.path) for each in metrics}
    shown = (
        f"{each.title} {value:{each.form}}" for each, value in values.items() if value is not None
    )
    return f"{run}: {', '.join(shown)}; {duration(summary['wall_sec'])}"


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("runs"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        console=console,
        disable=not console.is_terminal,
    )
