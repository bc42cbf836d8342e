"""What a person sees while a run works: bars on a terminal, plain lines in a log."""

import os
import sys
import time
from collections.abc import Iterable

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Who reads us has gone, as in `| head`: no reason to throw hours of training away."""
        self.quiet = True
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())


def make_console(quiet: bool = False) -> Console:
    """Writes to stdout, and goes on in silence where nobody reads that any more."""
    return _Console(markup=False, quiet=quiet)


class TrainingProgress:
    """A live bar with epoch, step, loss, accuracy, images/s and time left.

    Lines about whole epochs scroll above it; where the output is not a terminal, only they are
    written. Use as a context manager around the training loop.
    """

    def __init__(self, console: Console, total_steps: int, epochs: int):
        self._console = console
        self._epochs = epochs
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/" + str(epochs)),
            BarColumn(bar_width=24),
            TextColumn("step"),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total_steps, epoch=1, status="compiling ...")
        self._started = time.perf_counter()

    def __enter__(self) -> "TrainingProgress":
        self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        self._bar.stop()

    def step(self, step: int, epoch: int, metrics: dict[str, float]) -> None:
        """Moves the bar; metrics are those of the logged step."""
        status = (
            f"loss {metrics['train/loss']:.3f}  acc {metrics['train/accuracy']:.1%}  "
            f"{metrics.get('images_per_sec', 0):,.0f} images/s"
        )
        self._bar.update(self._task, completed=step, epoch=epoch, status=status)

    def epoch(self, epoch: int, step: int, metrics: dict[str, float], best: bool) -> None:
        """Writes a line about the validation at an epoch's end."""
        self._bar.update(self._task, completed=step)
        self._console.print(
            f"epoch {epoch:>3}/{self._epochs}  step {step:>5}  "
            f"val loss {metrics['val/loss']:.3f}  val acc {metrics['val/accuracy']:7.2%}  "
            f"ece {metrics['val/ece']:.3f}  {time.perf_counter() - self._started:5.0f} s"
            + ("  best" if best else ""),
            highlight=False,
            soft_wrap=True,  # a log's lines are not for us to break
        )


def track(console: Console, items: Iterable, length: int, what: str) -> Iterable:
    """Passes items on and shows how many have come; the Track that jaxvit.data.cache takes."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(what, total=length)
        if not console.is_terminal:
            console.print(f"{what}: {length}", highlight=False)
        for item in items:
            yield item
            bar.advance(task)
