"""python -m jaxvit average RUN...: one model from several checkpoints or runs."""

from dataclasses import dataclass
from pathlib import Path

from jaxvit.commands import arguments as cli
from jaxvit.config import count, option, require
from jaxvit.interop.load import inside_run
from jaxvit.interop.saved_run import load_run
from jaxvit.interop.soup import (
    best_checkpoints,
    load_splits,
    make_scorer,
    make_soup,
    selected_weights,
    write_run,
)
from jaxvit.objectives.monitors import monitor_of
from jaxvit.paths import check_writable, user_path

BEST = 3  # checkpoints of one run


@dataclass(frozen=True)
class Options:
    """A soup: the average of the best checkpoints of a run, or of the weights of several runs."""

    runs: cli.Runs  # Runs of one architecture, with the same classes and images.
    # Of one run: how many of its best checkpoints; 3 unless given.
    best: int | None = option(None, count(2, 1000))
    out: cli.Directory = None  # The run that is written; otherwise RUN-soup.
    # Add one after the other, the best first, as long as validation gets no worse.
    greedy: cli.Flag = False
    data_dir: cli.Directory = None  # Where the run's images are now, if they were moved.
    batch_size: int = option(32, count(1, 2**16))  # Photos that are scored together.

    def check(self) -> None:
        require(bool(self.runs), "no run is given: give one run, or several")
        places = [user_path("RUN", run).resolve() for run in self.runs]
        require(len(set(places)) == len(places), "a run is given twice: give each once")
        require(
            self.best is None or len(self.runs) == 1,
            f"--best {self.best} chooses among the checkpoints of one run, and of several runs "
            "each gives its own weights: leave it out, or give one run",
        )


def run(options: Options) -> int:
    """Prints scores before and after, and writes the average as a run.

    Raises:
      UserError: a run cannot be read, they do not fit each other, or --out is there already.
    """
    runs = [str(user_path("RUN", run)) for run in options.runs]
    first = runs[0]
    out = user_path("out", options.out or f"{Path(first).resolve()}-soup")
    require(not out.exists(), f"--out {out} exists already: choose another name, or remove it")
    around = inside_run(out)
    require(around is None, f"--out {out} lies in the run {around}: choose another place")
    check_writable("out", out)
    if len(runs) == 1:
        candidates = best_checkpoints(first, options.best or BEST, cli.to_stderr)
    else:
        candidates = selected_weights(runs)
    cli.cache_programs()
    splits = load_splits(first, options.data_dir, cli.show_progress())
    run = load_run(first)
    score = make_scorer(run, splits, options.batch_size, cli.show_progress())
    monitor = monitor_of(run.config.method, run.config.monitor)
    soup = make_soup(candidates, options.greedy, score, monitor)
    write_run(out, soup, options.greedy)
    averaged = {each[:2] for each in soup.averaged}
    for each, metrics in soup.candidates:
        used = "averaged" if each[:2] in averaged else "left out"
        print(f"{each.run} step {each.step}: validation {metrics['val/accuracy']:.2%}, {used}")
    for name, metrics in (("before (the best of them)", soup.before), ("after", soup.after)):
        low, high = metrics["test/accuracy_low"], metrics["test/accuracy_high"]
        print(
            f"{name}: validation {metrics['val/accuracy']:.2%}, loss {metrics['val/loss']:.3f}; "
            f"test {metrics['test/accuracy']:.2%} (95 % interval {low:.2%} to {high:.2%})"
        )
    print(f"everything is in {out}")
    return 0
