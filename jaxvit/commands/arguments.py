"""Arguments that several commands have, and what they show."""

import contextlib
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import partial
from typing import Annotated, Any

from rich.console import Console
from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction, arg

from jaxvit.config import DataConfig
from jaxvit.data.cache import Track, no_tracking
from jaxvit.errors import UserError
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.pretrained import Pretrained
from jaxvit.interop.settings import read_options
from jaxvit.paths import one_line, user_path
from jaxvit.runs.progress import passed_over_line, track
from jaxvit.runtime.program_cache import keep_programs

Run = Annotated[Positional[str], arg(metavar="RUN")]
Runs = Annotated[Positional[tuple[str, ...]], arg(metavar="RUN...")]
Paths = Annotated[Positional[tuple[str, ...]], arg(metavar="PATH...")]
Text = Annotated[str | None, arg(metavar="FILE")]
Data = Annotated[Positional[str], arg(metavar="DIR|SPLIT")]
Directory = Annotated[str | None, arg(metavar="DIR")]
WeightsOption = Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME=VALUE")]

Flag = FlagCreatePairsOff[bool]


def load_weights(path: str, weights_option: tuple[str, ...]) -> Pretrained:
    """Of a run, a file or hf://, with the settings that --weights-option gives.

    Raises:
      UserError: it cannot be read, or an option is unknown.
    """
    return load_pretrained(path, options=read_options(weights_option))


def turned(options: Any) -> bool | None:
    """What --upright and --no-upright say; None for neither.

    Raises:
      UserError: both are given.
    """
    if options.upright and options.no_upright:
        raise UserError("--upright and --no-upright contradict each other: give one of them")
    return options.upright or (False if options.no_upright else None)


def words_of(options: Any, *without: str) -> list[str]:
    """What the command was given, to be given again: arguments, then options.

    Args:
      options: of the command.
      without: names of options that are left out.
    """
    arguments, words = [], []
    for each in fields(options):
        value = getattr(options, each.name)
        if each.default is MISSING:
            arguments.append(value)
        elif value != each.default and each.name not in without:
            name = f"--{each.name.replace('_', '-')}"
            for item in value if isinstance(value, tuple) else (value,):
                words += [name] if item is True else [name, str(item)]
    return arguments + words


def to_stderr(line: str) -> None:
    """A line beside the results, which go to stdout."""
    print(one_line(line), file=sys.stderr, flush=True)


def tell_passed_over(kinds: Mapping[str, int]) -> None:
    """Files of image formats that are not decoded here: number by suffix."""
    if kinds:
        to_stderr(passed_over_line(kinds))


def show_progress(shown: bool = True) -> Track:
    """A bar on stderr, or one line where that is no terminal."""
    console = Console(stderr=True, markup=False)
    return partial(track, console) if shown else no_tracking


def cache_programs() -> None:
    """Keeps compiled programs where training does, so that the same command starts faster.

    Where that place cannot be used, it starts as the first time.
    """
    with contextlib.suppress(UserError):
        keep_programs(user_path("data.cache-dir", DataConfig().cache_dir))
