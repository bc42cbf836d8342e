"""python train_jax.py PRESET --find-lr: which learning rate to begin with."""

import json
from dataclasses import replace
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from jaxvit.cleanup import whole_file
from jaxvit.config import Config
from jaxvit.data.loader import prefetch_to_device, train_batches
from jaxvit.errors import UserError
from jaxvit.paths import user_path
from jaxvit.pictures.lr_finder import plot_finding
from jaxvit.runs.progress import say_on, track
from jaxvit.runtime.devices import Devices
from jaxvit.runtime.distributed import is_main
from jaxvit.tasks.configured import make_task
from jaxvit.tasks.features import load_data
from jaxvit.training.lr_finder import HIGH, LOW, STEPS, Finding, find_rate
from jaxvit.training.state import create_state
from jaxvit.training.steps import compile_train_step


def with_rising_rate(config: Config) -> Config:
    """The configuration, without averages, whose rate at step s is lr_finder.rate_of(s)."""
    growth = (HIGH / LOW) ** (1 / STEPS)
    optim = replace(
        config.optim, lr=LOW * growth, gamma=growth, schedule="exponential", step_every_steps=1,
        step_every_epochs=None, milestones=(), warmup=0.0, warmup_steps=None,
        ema_decay=0.0, swa_start=0.0, swa_lr=None,
    )  # fmt: skip
    return replace(config, optim=optim)


def find_lr(config: Config, devices: Devices, console: Console, make=make_task) -> Finding:
    """Trains for a hundred steps at rates from 1e-8 to 1, says and draws what it found.

    The run directory is neither read nor written. OUT-find-lr.png and .json stand beside it.

    Args:
      config: of the run that is to follow: its data, model, batches, seed and optimiser.
      devices: where it is computed.
      console: where progress is shown.
      make: see train_jax.train.

    Raises:
      UserError: the data or the weights cannot be read, or the result cannot be written.
    """
    if config.optim.weight_decay is None:
        raise UserError(
            "--find-lr needs one --optim.weight-decay: it cannot be chosen before the learning rate"
        )
    if config.optim.accumulate_grad_batches:
        raise UserError(
            "--find-lr changes the rate at every batch, and --optim.accumulate-grad-batches joins "
            "several: leave it out, and give --batch-size the images of an update"
        )
    rising = with_rising_rate(config)
    data = load_data(config, devices, partial(track, console))
    task = make(rising, data, STEPS, devices.axis)
    create = partial(create_state, task, config.seed, rising.optim.averages)
    state = devices.create(create, task.pretrained)
    host = train_batches(
        data.train, config.batch_size, config.seed, own=devices.own_rows(config.batch_size),
        with_index=task.uses_index,
    )  # fmt: skip
    batches = prefetch_to_device(host, devices.place_batch, config.data.prefetch_batches)
    with Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
        console=console, disable=not console.is_terminal,
    ) as bar:  # fmt: skip
        shown = bar.add_task("learning rates", total=STEPS)
        found = find_rate(
            state,
            compile_train_step(task, devices, rising),
            batches,
            lambda step: bar.update(shown, completed=step),
        )
    if is_main():
        report(found, config, say_on(console))
    return found


def report(found: Finding, config: Config, say) -> None:
    """Says the suggestion, and writes the picture and the figures.

    Raises:
      UserError: they cannot be written.
    """
    out = user_path("out", config.out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        picture = out.with_name(f"{out.name}-find-lr.png")
        with whole_file(picture) as partial_file:
            marked = {"by unit": found.suggestion, "by decade": found.by_decade}
            figure = plot_finding(found.rates, found.losses, marked)
            figure.savefig(partial_file, format="png", dpi=110)
        with whole_file(picture.with_suffix(".json")) as partial_file:
            partial_file.write_text(json.dumps(found._asdict(), indent=1) + "\n")
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"--out {out} leaves no place for the result ({reason}): choose another"
        ) from error
    taken = len(found.rates)
    if found.diverged:
        say(f"the loss diverged at step {taken} of {STEPS}, at a rate of {found.rates[-1]:.2g}")
    if found.suggestion is None:
        say(f"{taken} steps are too few to suggest a learning rate: look at the picture")
    else:
        say(
            f"the loss falls most steeply at {found.suggestion:.2g} for each unit of the rate "
            f"(Lightning's suggestion) and at {found.by_decade:.2g} for each factor of 10; "
            f"--optim.lr is {config.optim.lr:g}"
        )
    say(f"the picture is {picture}")
