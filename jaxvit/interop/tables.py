"""Predictions as files for other programs, each written whole or not at all."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from os.path import expanduser
from pathlib import Path
from typing import Any

from jaxvit.errors import UserError
from jaxvit.interop.load import inside_run
from jaxvit.interop.predictions import Prediction
from jaxvit.interop.weights_file import output_file
from jaxvit.paths import check_writable, legible, user_path


def write_csv(path: Path, predictions: Sequence[Prediction], top_k: int) -> None:
    """A header, and a line for each file: path,class_1,probability_1,class_2,probability_2,...

    Raises:
      UserError: it cannot be written.
    """
    numbers = range(1, top_k + 1)
    header = [f"{column}_{number}" for number in numbers for column in ("class", "probability")]
    with output_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *header])
        for each in predictions:
            writer.writerow([legible(each.path), *(cell for pair in each.classes for cell in pair)])


def write_json(path: Path, predictions: Sequence[Prediction]) -> None:
    """A list in order of {"path": ..., "classes": [{"class": ..., "probability": ...}, ...]}.

    Raises:
      UserError: it cannot be written.
    """
    lines = [
        json.dumps(
            {
                "path": legible(each.path),
                "classes": [{"class": name, "probability": p} for name, p in each.classes],
            },
            ensure_ascii=False,
        )
        for each in predictions
    ]
    write_text(path, "[\n" + ",\n".join(lines) + "\n]\n")


def write_values(path: Path, values: Mapping[str, Any]) -> None:
    """A JSON object with a line for each of its values."""
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in values.items()]
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def write_text(path: Path, text: str) -> None:
    """A UTF-8 file, whole or not at all."""
    with output_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def files_to_write(
    inputs: Iterable[str | Path | None], **given: str | None
) -> tuple[Path | None, ...]:
    """The paths of files that will be written, checked before the work begins.

    Args:
      inputs: files that are read, none of which may be written over, and runs, whose directories
        hold their own files alone.
      given: option -> its value, or None.

    Raises:
      UserError: one is a directory, cannot be written where it is to be, is named twice, is an
        input, or lies in a run.
    """
    # A photo may have a name such as ~photo.jpg, which is no home directory.
    read = {Path(expanduser(path)).resolve() for path in inputs if path is not None}
    paths: dict[str, Path] = {}
    for option, value in given.items():
        if value is None:
            continue
        path = user_path(option, value)
        if not value or path.is_dir() or not path.name:
            raise UserError(f"--{option} {value!r} names no file: give the name of a file")
        check_writable(option, path)
        if path.resolve() in read:
            raise UserError(
                f"--{option} {value} would be written over what is read: choose another name"
            )
        if run := inside_run(path):
            raise UserError(
                f"--{option} {value} lies in the run {run}, which holds its files alone: choose "
                "another place"
            )
        if twice := [other for other, known in paths.items() if known.resolve() == path.resolve()]:
            raise UserError(f"--{twice[0]} and --{option} name the same file {value}: give two")
        paths[option] = path
    return tuple(paths.get(option) for option in given)
