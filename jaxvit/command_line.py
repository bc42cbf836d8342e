"""`python train_jax.py [PRESET] [--option value ...]` to a checked Config."""

import contextlib
import io
import os
import sys
from typing import NoReturn

import jax

from jaxvit.config import Config, check
from jaxvit.errors import Diverged, Interrupted, UserError
from jaxvit.presets import PRESETS, preset
from jaxvit.runtime.interrupt import SIGNALS

DESCRIPTION = """Train a Vision Transformer in JAX and report on it.

PRESET is one of
  digits      8x8 digits, embedded: no download, a minute on two cores (the default)
  pets-lab    the lab's numbers exactly: ViT-B/16 at 224 on Oxford-IIIT Pet
  pets-small  a small ViT on Pets at 64 pixels: minutes on two cores

Options override the preset's values, which are the defaults shown below.

examples:
  python train_jax.py
  python train_jax.py pets-small --data.dir DIR --epochs 20 --seed 1 --out runs/pets
  python train_jax.py pets-small --data.name folder --data.dir DIR --model.embed-dim 192"""


def parse(args: list[str]) -> tuple[str, Config]:
    """The preset's name and the configuration it becomes.

    The preset comes first and may be left out; `--help` shows the options with its values.

    Raises:
      UserError: an unknown preset or option, or a value that cannot work.
      SystemExit: help was asked for and has been printed.
    """
    import tyro

    name, rest = "digits", args
    if args and not args[0].startswith("-"):
        name, rest = args[0], args[1:]
    default = preset(name)
    misplaced = [arg for arg in rest if arg in PRESETS]
    if misplaced:
        raise UserError(f"the preset {misplaced[0]!r} comes first: train_jax.py {misplaced[0]} ...")
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            config = tyro.cli(
                Config,
                prog="train_jax.py [PRESET]",
                description=DESCRIPTION,
                default=default,
                args=rest,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UserError(_one_line(complaint.getvalue())) from None
    check(config)
    return name, config


def _one_line(box: str) -> str:
    """The first paragraph of tyro's box, without its frame."""
    words = []
    for line in box.splitlines():
        text = line.strip("│| ")
        if line.startswith(("╭", "+")) and not words:
            continue
        if text.startswith(("─", "---")) or line.startswith(("╰", "+")):
            break
        words.append(text)
    message = " ".join(words) or "the command line could not be read"
    return f"{message.rstrip('.')}: see python train_jax.py --help"


# What ends a run in a line instead of a traceback: our own refusals, a full disk, a full device.
FAILURES = (UserError, OSError, jax.errors.JaxRuntimeError)


def fail(error: BaseException) -> int:
    """Prints what ended the run as one line, and returns the exit code.

    128 plus its number for a signal, 3 for a run that diverged, otherwise 2. An error of the
    runtime that is neither a full device nor another process's end is raised again: it is a bug.
    """
    if isinstance(error, Interrupted):
        print(error, file=sys.stderr)
        if not error.agreed and jax.distributed.is_initialized():
            _leave_at_once(error.exit_code)
        return error.exit_code
    message = " ".join(_explain(error).split())
    print(f"error: {message}", file=sys.stderr)
    return 3 if isinstance(error, Diverged) else 2


def leave(code: int) -> NoReturn:
    """Ends the process; after a failure at once, without the farewells of libraries.

    orbax's threads may wait for ever for a write that failed, tensorboardX complains once more of a
    disk that is full, and of many processes one that fails alone would wait for the others, who
    wait for it: JAX ends those within a minute of its death.
    """
    if code in (0, *(128 + number for number in SIGNALS)):
        sys.exit(code)
    _leave_at_once(code)


def _leave_at_once(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def _explain(error: BaseException) -> str:
    if isinstance(error, UserError):
        return str(error)
    again = "give the same command again, which goes on from the last checkpoint"
    if isinstance(error, OSError):
        return f"the run could not go on ({error}): mend that and {again}"
    if "RESOURCE_EXHAUSTED" in str(error):
        return (
            f"the device's memory is full ({str(error)[:200]}): lower --batch-size, raise "
            "--grad-accum-steps, or add --model.remat or --parallel.shard-params"
        )
    if jax.distributed.is_initialized():
        return f"another process cannot be reached ({str(error)[:200]}): end all, and {again}"
    raise error
