"""Progress of a run: bars on a terminal, plain lines in a log."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from jaxvit.completion import FEW_TO_VALIDATE
from jaxvit.config import Config
from jaxvit.data.decoded import Dataset
from jaxvit.optim.schedules import warmup_steps
from jaxvit.paths import one_line
from jaxvit.runtime.streams import take_any_text
from jaxvit.training.fit import Plan, initial_share

RATE_SEC = 10  # over which the time of an item is measured
SLOW_SEC = 90  # of a part of the work, below which no estimate is printed
MOST_INITIAL = 0.05  # share of the initial weights in a running average, above which it is said


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """The reader of stdout has gone, as in `| head`: training continues in silence."""
        self.quiet = True
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())


def make_console(quiet: bool = False) -> Console:
    """Writes to stdout, and continues in silence once nothing reads it."""
    take_any_text()
    return _Console(markup=False, quiet=quiet)


def say_on(console: Console) -> Callable[[str], None]:
    """Prints a line as it is, not broken at the width of the terminal."""

    def say(line: str) -> None:
        lines = map(one_line, line.split("\n"))  # names may hold other control characters
        console.print("\n".join(lines), highlight=False, soft_wrap=True)

    return say


class TrainingProgress:
    """A live bar with epoch, steps, losses, speed and time left, in 80 columns.

    Lines about whole epochs scroll above it; where the output is not a terminal, only they are
    written. Use as a context manager around the training loop.

    Args:
      console: where it is shown.
      total_steps, epochs: of the run.
      headline: (metric, format) pairs of a validation; see jaxvit.training.task.Task.
    """

    def __init__(
        self,
        console: Console,
        total_steps: int,
        epochs: int,
        headline: tuple[tuple[str, str], ...],
    ):
        self._console = console
        self._epochs = epochs
        self._headline = headline
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/" + str(epochs)),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(compact=True),
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
        losses = [value for name, value in metrics.items() if name.startswith("train/loss")]
        shown = " ".join(f"{loss:{'.3f' if len(losses) == 1 else '.2f'}}" for loss in losses)
        status = f"loss {shown} {metrics.get('images_per_sec', 0):,.0f} img/s"
        self._bar.update(self._task, completed=step, epoch=epoch, status=status)

    def epoch(self, epoch: int, step: int, metrics: dict[str, float], best: bool) -> None:
        """Writes a line about the validation at an epoch's end."""
        self._bar.update(self._task, completed=step)
        shown = "  ".join(
            f"{name} {metrics[f'val/{name}']:{form}}" for name, form in self._headline
        )
        self._console.print(
            f"epoch {epoch:>3}/{self._epochs}  val {shown}  "
            f"{time.perf_counter() - self._started:5.0f} s" + ("  best" if best else ""),
            highlight=False,
            soft_wrap=True,  # a log's lines are not for us to break
        )


def announce(
    console: Console,
    name: str,
    config: Config,
    params: Any,
    data: Dataset,
    plan: Plan,
    devices: int,
    notes: Iterable[str] = (),
) -> None:
    """What is about to be trained, and what a person should know before it is.

    Args:
      console: where it is said.
      name: of the preset.
      config: for the warm-up and the running average.
      params: a tree of arrays.
      data: its three splits.
      plan: its steps.
      devices: how many.
      notes: further lines, of the task.
    """
    say = say_on(console)
    for note in notes:
        say(note)
    counts = np.bincount(data.train.labels, minlength=len(data.class_names))
    smallest = int(counts.argmin())
    labelled = len(data.class_names) > 1
    say(
        (f"{len(data.class_names)} classes: " if labelled else "no classes: ")
        + f"{len(data.train):,} images to train on, {len(data.val):,} for validation, "
        f"{len(data.test):,} for the test"
    )
    if data.extra:
        places = " and ".join(config.data.extra_dir)
        say(f"of these, {data.extra:,} training images are those of {places}")
    if labelled:
        fewest = data.class_names[smallest]
        say(f"smallest class to train on: {fewest!r} with {counts[smallest]:,}")
    if data.skipped:
        say(f"left out {len(data.skipped)} image(s); the first: {data.skipped[0]}")
    if data.passed_over:
        say(passed_over_line(data.passed_over))
    if len(data.val) < FEW_TO_VALIDATE:
        so = (
            "the last one is scored" if config.select == "last" else "--select last scores the last"
        )
        say(f"warning: {len(data.val)} validation images are few to choose the best epoch by: {so}")
    if plan.batch_size > len(data.train):
        say(
            f"warning: --batch-size {plan.batch_size} is more than the {len(data.train)} images to "
            f"train on, so a step sees each several times: give at most {len(data.train)}"
        )
    warmup = warmup_steps(config.optim, plan.total_steps)
    if 3 * warmup > plan.total_steps:
        say(
            f"warning: {warmup} of {plan.total_steps} steps are warm-up: train for more --epochs, "
            f"or lower --optim.warmup{'-steps' if config.optim.warmup_steps is not None else ''}"
        )
    initial, updates = initial_share(config.optim, plan)
    if config.optim.ema_decay and initial > MOST_INITIAL:
        lower = max(0.0, 1 - 3 / max(updates, 1))  # d^U < exp(-3) < MOST_INITIAL
        say(
            f"warning: at the end {initial:.0%} of the running average will be the initial "
            f"weights: train for more --epochs, or lower --optim.ema-decay "
            f"{config.optim.ema_decay:g} to {lower:.6g}"
        )
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    say(
        f"{name}: {parameters:,} parameters, {plan.total_steps:,} steps in {plan.epochs} epochs "
        f"on {devices} {jax.default_backend()} device(s)"
    )


def passed_over_line(kinds: Mapping[str, int]) -> str:
    """About files of image formats that are not decoded here: number by suffix."""
    named = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    return f"passed over {named}: convert them to .jpg or .png to use them"


def track(console: Console, items: Iterable, length: int, what: str) -> Iterable:
    """Passes items on and shows how many have come; the Track that jaxvit.data.cache takes.

    Off a terminal it says once, after RATE_SEC, about how long the rest takes, if that is more than
    SLOW_SEC.
    """
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
        began = None  # the first item compiles
        for done, item in enumerate(items):
            now = time.perf_counter()
            if done == 1 and not console.is_terminal:
                began = now
            if began is not None and now - began > RATE_SEC:
                left = (now - began) / (done - 1) * (length - done)
                if left > SLOW_SEC:
                    console.print(f"{what}: about {left / 60:.0f} minutes left", highlight=False)
                began = None
            yield item
            bar.advance(task)
