"""python -m jaxvit study NAME [-- OPTIONS OF EVERY RUN]: configurations compared over seeds."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from tyro.conf import Positional, arg

from jaxvit.command_line import parse
from jaxvit.commands import arguments as cli
from jaxvit.config import count, option, require
from jaxvit.errors import UserError
from jaxvit.paths import check_writable, user_path
from jaxvit.runs.progress import make_console
from jaxvit.runtime.interrupt import StopSignals
from jaxvit.studies.catalogue import find_study
from jaxvit.studies.conduct import conduct
from jaxvit.studies.forecast import forecast
from jaxvit.studies.launch import check_signals
from jaxvit.studies.plan import check_same_data, check_unchanged, is_finished, plan_runs
from jaxvit.studies.results import gather, show, write_results


@dataclass(frozen=True)
class Options:
    """Trains configurations with several seeds, and compares them in a table and a figure."""

    # A study, such as smoothing, or a .py file that defines STUDY: see docs/studies.md.
    name: Annotated[Positional[str], arg(metavar="NAME")]
    # After --: options of train_jax.py for every run, such as -- --epochs 5.
    extra: Annotated[Positional[tuple[str, ...]], arg(metavar="[-- OPTION ...]")] = ()
    out: cli.Directory = None  # Holds NAME/LABEL/seed-N, and NAME/study.*; otherwise runs/studies.
    seeds: int | None = option(None, count(1, 1000))  # How many, from 0; otherwise the study's own.
    # Say how many runs, how long and how much disk. What no finished run tells is measured in a
    # trial of each configuration, of some seconds of training.
    dry_run: cli.Flag = False
    # Train nothing: the table and the figure of what is finished.
    report: cli.Flag = False
    overwrite: cli.Flag = False  # Replace runs of another configuration; equal ones are kept.

    def check(self) -> None:
        require(not (self.dry_run and self.report), "--dry-run and --report: give one of them")


def run(options: Options) -> int:
    """Trains what is not finished; prints and writes the table.

    Raises:
      UserError: there is no such study, its runs cannot work, or none of them is finished.
      Interrupted: a signal came.
    """
    study = find_study(options.name)
    seeds = options.seeds or study.seeds
    out = user_path("out", options.out or "runs/studies") / study.name
    check_writable("out", out)
    plan = partial(plan_runs, study, seeds, out, options.extra, parse)
    runs = plan()
    if not options.overwrite:
        check_unchanged(runs)
    console = make_console()
    with StopSignals() as stop:
        check_signals(stop)  # from here on a signal waits for us
        if options.dry_run:
            forecast(runs, out, console, stop)
            return 0
        failures = {} if options.report else conduct(
            runs, options.overwrite, study.metrics, console, stop
        )  # fmt: skip
        finished = [each for each in plan() if is_finished(each)]  # all can be compared now
        require(bool(finished), f"no run of {study.name} is finished in {out}: there is no table")
        check_same_data(finished)
        cli.cache_programs()
        results = gather(study, options.name, seeds, options.extra, finished, failures, out, stop)
        write_results(results, out)
    show(results, console)
    console.print(f"everything is in {out}", highlight=False)
    if failures:
        raise UserError(
            f"{len(failures)} of {len(runs)} runs failed and are not in the table: correct what "
            "their lines say; the same command tries them again"
        )
    return 0
