"""`python train_jax.py [PRESET] [--option value ...]` to a checked Config, and errors to lines."""

import contextlib
import io
import os
import sys
from dataclasses import replace
from typing import Any, NoReturn, TypeVar

import jax

from jaxvit.completion import complete
from jaxvit.config import Config, check, foreign_options, without_foreign_options
from jaxvit.data.datasets import find_source, split_source
from jaxvit.errors import Diverged, Interrupted, UserError
from jaxvit.interop.starting_point import follow_weights
from jaxvit.paths import one_line
from jaxvit.presets import ABOUT, FOR_DATA, PRESETS, preset
from jaxvit.runtime.interrupt import wait_if_exiting

Options = TypeVar("Options")
WEIGHTS_OPTION = "--init.weights-option"
USAGE = "usage: python train_jax.py [PRESET] [--option value ...]"
COMMON = (
    "--data.dir DIR          the folder of images, DIR/<class>/*.jpg",
    "--init.weights PATH     pretrained weights: a file, a run, or hf://OWNER/NAME",
    "--out DIR               where the run is written",
    "--epochs N              passes over the training images",
    "--batch-size N          images in a step",
    "--seed N                fixes everything that is drawn at random",
    "--optim.lr X            peak learning rate",
    "--model.img-size N      side of the square that images are resized to",
    "--data.on-error skip    leave out images that cannot be read, and count them",
    "--overwrite             replace the run in --out",
    "--resume                insist that there is a run to resume",
    "--extend                continue a finished run to --epochs N in all",
)


def help_text() -> str:
    """The first screen: presets, the options that people use, and how to see all."""
    width = max(map(len, ABOUT)) + 1
    presets = [f"  {name:{width}}{about}" for name, about in ABOUT.items()]
    options = [f"  {line}" for line in COMMON]
    return "\n".join(
        [
            "Train a Vision Transformer, a ResNet or a generator on images, and report on it.",
            "",
            USAGE,
            "",
            "presets (digits, if none is given):",
            *presets,
            "",
            "options that people use (an option overrides the preset's value):",
            *options,
            "",
            "example: python train_jax.py folder --data.dir MYDIR --out runs/mine",
            "",
            "all options, with the values of a preset: python train_jax.py PRESET --help-all",
        ]
    )


def parse(args: list[str]) -> tuple[str, Config]:
    """The preset's name and the configuration it becomes, complete and checked.

    The preset comes first. Without one it follows --data.name, and is otherwise "digits".

    Raises:
      UserError: an unknown preset or option, or a value that cannot work.
      SystemExit: help was asked for and has been printed.
    """
    if {"--help", "-h"} & set(args):
        print(help_text())
        raise SystemExit(0)
    name, rest = _default_preset(args), args
    if args and not args[0].startswith("-"):
        name, rest = args[0], args[1:]
    default = preset(name)
    for before, arg in zip(["", *rest], rest, strict=False):
        if arg in PRESETS and (not before.startswith("--") or "=" in before):
            raise UserError(f"the preset {arg!r} comes first: train_jax.py {arg} ...")
    given = [arg for arg in rest if arg.partition("=")[0].replace("_", "-") == WEIGHTS_OPTION]
    if len(given) > 1:
        raise UserError(
            f"{WEIGHTS_OPTION} is given {len(given)} times, and the last would count alone: give "
            f"it once, with all settings after it, as in {WEIGHTS_OPTION} num_heads=3 gelu=tanh"
        )
    config = _from_tyro(default, ["--help" if arg == "--help-all" else arg for arg in rest], name)
    if config.extend and not any(arg.partition("=")[0] == "--epochs" for arg in rest):
        raise UserError("--extend needs --epochs N, the new total: give both")
    check(config)
    config = _own_options(config, default)
    config = complete(follow_weights(config))
    check(config)
    if config.follows_images:
        splits = split_source(find_source(config.data), config.data)
        config = complete(config, *(len(splits[name][1]) for name in ("train", "val")))
        check(config)
    return name, config


def _own_options(config: Config, default: Config) -> Config:
    """Without the options that the model does not have, which a preset may have for another.

    Raises:
      UserError: such an option was given.
    """
    for name, value in foreign_options(config.model).items():
        if value != getattr(default.model, name):
            raise UserError(
                f"--model.{name.replace('_', '-')} {value} is no option of --model.name "
                f"{config.model.name}, --model.attention {config.model.attention}: leave it out"
            )
    return replace(config, model=without_foreign_options(config.model))


def _default_preset(args: list[str]) -> str:
    for option, value in zip(args, args[1:], strict=False):
        if option == "--data.name":
            return FOR_DATA.get(value, "digits")
    joined = [arg.removeprefix("--data.name=") for arg in args if arg.startswith("--data.name=")]
    return FOR_DATA.get(joined[0], "digits") if joined else "digits"


def _from_tyro(default: Config, args: list[str], name: str) -> Config:
    about = f"All options, with the values of the preset {name}: {ABOUT[name]}."
    return _tyro(Config, args, f"python train_jax.py {name}", "python train_jax.py", about, default)


def parse_command(options: type[Options], name: str, args: list[str]) -> Options:
    """The options of python -m jaxvit NAME, checked; see jaxvit.commands.

    Args:
      options: a dataclass, whose docstring is the help's first line.
      name: of the command.
      args: after the name.

    Raises:
      UserError: an unknown option, or a value that cannot work.
      SystemExit: help was asked for and has been printed.
    """
    prog = f"python -m jaxvit {name}"
    found = _tyro(options, args, prog, prog)
    check(found)
    return found


def _tyro(
    cls: type, args: list[str], prog: str, asks: str, about: str | None = None, default: Any = None
):
    import tyro

    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(cls, prog=prog, description=about, default=default, args=args)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UserError(_one_line(complaint.getvalue(), asks)) from None


def _one_line(box: str, asks: str) -> str:
    """The first paragraph of tyro's box, without its frame, and the options that it suggests.

    Args:
      box: what tyro printed.
      asks: the command that has --help.
    """
    words, suggestions, first = [], [], True
    lines = [line for line in box.splitlines() if line.strip()]
    if len(lines) > 1 and lines[1].strip().startswith("---"):  # without a frame: a title, a rule
        lines = lines[2:]
    for line in lines:
        text = line.strip("│| ")
        if line.startswith(("╭", "+")) and first and not words:
            continue
        if text.startswith(("─", "---")) or line.startswith(("╰", "+")):
            first = False
        elif first:
            words.append(text)
        elif text.startswith("--"):
            suggestions.append(text.split()[0].rstrip(","))
    message = (" ".join(words) or "the command line could not be read").rstrip(".")
    message = message.partition(" Got errors:")[0].rstrip(" .")  # of each type of a union
    given = {word.strip(":,.'") for word in message.split()}
    meant = [option for option in dict.fromkeys(suggestions) if option not in given]
    if meant:
        return f"{message}: perhaps you meant {' or '.join(meant[:3])}"
    return f"{message}: see {asks} --help"


# What ends a run in a line instead of a traceback: our own errors, a full disk, a full device, a
# signal.
FAILURES = (UserError, OSError, jax.errors.JaxRuntimeError, Interrupted)


def fail(error: BaseException, resumes: bool = True) -> int:
    """Prints what ended the run as one line, and returns the exit code.

    128 plus its number for a signal, 3 for a run that diverged, otherwise 2. An error of the
    runtime that is neither a full device nor another process's end is raised again: it is a bug.

    Args:
      error: that ended it.
      resumes: whether the same command resumes what it began.
    """
    if isinstance(error, Interrupted):
        print(error, file=sys.stderr)
        return error.exit_code
    wait_if_exiting()
    message = one_line(" ".join(_explain(error, resumes).split()))
    print(f"error: {message}", file=sys.stderr)
    return 3 if isinstance(error, Diverged) else 2


def leave(code: int) -> NoReturn:
    """Ends the process; after anything but success at once, skipping atexit handlers.

    orbax's threads may wait without end for a write that failed, XLA's threads may be compiling,
    and of many processes one that fails alone would wait for the others, which wait for it: JAX
    ends those within a minute.
    """
    wait_if_exiting()
    if code == 0:
        sys.exit(0)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def _explain(error: BaseException, resumes: bool) -> str:
    if isinstance(error, UserError):
        return str(error)
    again = "run the same command again" + (
        ", which resumes from the last checkpoint" if resumes else ""
    )
    if isinstance(error, BrokenPipeError):
        return "nothing reads the output"
    if isinstance(error, OSError):
        what = "run" if resumes else "command"
        return f"the {what} could not continue ({error}): correct that and {again}"
    if "RESOURCE_EXHAUSTED" in str(error):
        return (
            f"the device's memory is full ({str(error)[:200]}): lower --batch-size, raise "
            "--grad-accum-steps, or add --model.remat or --parallel.shard-params"
        )
    if jax.distributed.is_initialized():
        return f"another process cannot be reached ({str(error)[:200]}): end all, and {again}"
    raise error
