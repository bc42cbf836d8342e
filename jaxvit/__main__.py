"""python -m jaxvit COMMAND: what can be done with a finished run."""

import sys

if __name__ == "__main__":  # before anything slow is imported
    from jaxvit.runtime.interrupt import exit_on_signals

    exit_on_signals()

from importlib import import_module

COMMANDS = {"predict": "the most probable classes of photos"}
USAGE = "usage: python -m jaxvit COMMAND ...\n\ncommands:\n" + "\n".join(
    f"  {name:10} {about}" for name, about in COMMANDS.items()
)


def main(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if args else 2
    from jaxvit.command_line import FAILURES, fail
    from jaxvit.errors import UserError

    try:
        if args[0] not in COMMANDS:
            raise UserError(f"unknown command {args[0]!r}: choose one of {', '.join(COMMANDS)}")
        return import_module(f"jaxvit.commands.{args[0]}").main(args[1:])
    except FAILURES as error:
        return fail(error)


if __name__ == "__main__":
    from jaxvit.command_line import leave

    leave(main(sys.argv[1:]))
