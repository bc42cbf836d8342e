"""Train on a folder of images: parse, build, fit, report. `python train_jax.py --help`."""

import signal
import sys

if __name__ == "__main__":  # before anything slow is imported: Ctrl-C is one line from here on
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))  # they wait for:
    from jaxvit.runtime.startup import begin, imported

    begin()

from functools import partial

from rich.console import Console

from jaxvit.command_line import FAILURES, fail, leave, parse
from jaxvit.commands.find_lr import find_lr
from jaxvit.commands.pages import try_run_page
from jaxvit.config import Config
from jaxvit.runs.directory import RunDirectory
from jaxvit.runs.progress import announce, make_console, say_on, track
from jaxvit.runs.recorder import Recorder
from jaxvit.runtime.devices import Devices, make_devices
from jaxvit.runtime.distributed import connect, is_main
from jaxvit.runtime.gaps import fill_gaps_after_compiling
from jaxvit.runtime.interrupt import watch_for_signals
from jaxvit.runtime.memory import keep_freed_memory
from jaxvit.runtime.program_cache import cache_programs
from jaxvit.tasks.configured import make_task
from jaxvit.tasks.features import load_data
from jaxvit.training.evaluate import make_refresh, make_score
from jaxvit.training.fit import Plan, average_decay, fit
from jaxvit.training.state import create_state
from jaxvit.training.steps import compile_train_step


def train(
    name: str, config: Config, devices: Devices, run: RunDirectory, console: Console, make=make_task
) -> dict:
    """Trains the Task of make(config, data, total_steps, axis, facts); returns the summary."""
    cache_programs(config, say_on(console))

    # Build: data, task, state, and the compiled steps.
    data = load_data(config, devices, partial(track, console))
    plan = Plan(len(data.train), config.batch_size, config.epochs, config.val_every_epochs)
    task = make(config, data, plan.total_steps, devices.axis, run.facts)
    create = partial(create_state, task, config.seed, config.optim.averages)
    state = devices.create(create, task.pretrained)
    step = compile_train_step(task, devices, config, average_decay(config.optim, plan))
    score = make_score(task, devices, config.batch_size, config.seed)
    refresh = make_refresh(task, devices, config.seed)
    announce(console, name, config, state.params, data, plan, devices.count, task.notes)
    # Fit: log every few steps; validate and save at every epoch's end. Then report.
    with Recorder(run, task, config, plan, data, devices, score, refresh, console) as recorder:
        state = recorder.resume(state)
        batches = recorder.batches(start_step=int(state.step))
        state, compile_sec = recorder.around(partial(fit, state, step, batches, plan))
        return recorder.report(name, state, compile_sec)


def main(args: list[str]) -> int:
    try:
        name, config = parse(args)
        if config.keep_memory and keep_freed_memory():
            fill_gaps_after_compiling()
        watch_for_signals()
        connect(config.distributed, say=partial(print, file=sys.stderr, flush=True))
        devices = make_devices(config)
        console = make_console(quiet=not is_main())
        if config.find_lr:
            find_lr(config, devices, console)
            return 0
        with RunDirectory(config, writes=is_main()) as run:
            train(name, config, devices, run, console)
            try_run_page(run.path, say_on(console))
    except FAILURES as error:
        return fail(error)
    return 0


if __name__ == "__main__":
    imported()
    leave(main(sys.argv[1:]))
