"""python -m jaxvit COMMAND: what can be done with finished runs or pretrained weights; studies."""

import signal
import sys

if __name__ == "__main__":  # before anything slow is imported
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))  # they wait for:
    from jaxvit.runtime.startup import begin

    begin(
        "stopped: finished runs are kept, and the same command resumes the others"
        if sys.argv[1:2] == ["study"]
        else "stopped: no file was written, and the same command starts again"
    )

from importlib import import_module

from jaxvit.runtime.interrupt import watch_for_signals
from jaxvit.runtime.memory import keep_freed_memory
from jaxvit.runtime.startup import imported
from jaxvit.runtime.streams import take_any_text

COMMANDS = {
    "predict": "the most probable classes of photos",
    "evaluate": "scores on labelled photos, with intervals",
    "explain": "why a model says so, as a figure for each photo",
    "inspect": "what a run or a weights file is",
    "convert": "weights in the layout of another program",
    "average": "one model from several checkpoints or runs",
    "report": "the page of a finished run, once more",
    "sample": "images that a trained generator makes",
    "quality": "how good they are, beside real ones",
    "study": "configurations compared over several seeds",
}
LARGE_BATCHES = ("predict", "evaluate", "explain", "quality")  # of photos, in large models
USAGE = "\n".join(
    [
        "usage: python -m jaxvit COMMAND ...",
        "",
        "commands:",
        *(f"  {name:10} {about}" for name, about in COMMANDS.items()),
        "",
        "options of a command: python -m jaxvit COMMAND --help",
    ]
)


def main(args: list[str], kept: bool = False) -> int:
    """Runs a command.

    Args:
      args: its name and options.
      kept: whether freed memory stays in the process; see keep_freed_memory.
    """
    take_any_text()
    from jaxvit.command_line import FAILURES, fail, parse_command
    from jaxvit.errors import UserError

    try:
        if not args or args[0] in ("-h", "--help"):
            print(USAGE, flush=True)
            return 0 if args else 2
        if args[0] not in COMMANDS:
            raise UserError(f"unknown command {args[0]!r}: choose one of {', '.join(COMMANDS)}")
        command = import_module(f"jaxvit.commands.{args[0]}")
        imported()
        if kept:
            from jaxvit.runtime.gaps import fill_gaps_after_compiling

            fill_gaps_after_compiling()
        return command.run(parse_command(command.Options, args[0], args[1:]))
    except FAILURES as error:
        return fail(error, resumes=False)


def program(args: list[str]) -> int:
    """main in a process of its own, which may keep the memory that XLA frees after every batch."""
    kept = bool(args) and args[0] in LARGE_BATCHES and keep_freed_memory()
    watch_for_signals()
    return main(args, kept)


if __name__ == "__main__":
    from jaxvit.command_line import leave

    leave(program(sys.argv[1:]))
