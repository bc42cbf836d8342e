"""Predictions as files for other programs, each written whole or not at all."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxvit.interop.predictions import Prediction
from jaxvit.interop.weights_file import whole_file
from jaxvit.paths import legible


def write_csv(path: Path, predictions: Sequence[Prediction], top_k: int) -> None:
    """A header, and a line for each file: path,class_1,probability_1,class_2,probability_2,...

    Raises:
      UserError: it cannot be written.
    """
    numbers = range(1, top_k + 1)
    header = [f"{column}_{number}" for number in numbers for column in ("class", "probability")]
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
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
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
