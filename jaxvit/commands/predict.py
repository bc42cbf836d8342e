"""python -m jaxvit predict RUN PATH...: the most probable classes of photos."""

import sys
import time
from dataclasses import dataclass
from typing import Literal

from jaxvit.commands import arguments as cli
from jaxvit.config import count, option, require
from jaxvit.data.photos import find_photos
from jaxvit.errors import UserError
from jaxvit.interop.predictions import make_classifier, predict_files
from jaxvit.interop.tables import files_to_write, write_csv, write_json


@dataclass(frozen=True)
class Options:
    """The most probable classes of photos, in the order in which they are given."""

    run: cli.Run  # A run, a weights file, or hf://OWNER/NAME.
    paths: cli.Paths  # Image files, and folders whose images are taken at any depth.
    top_k: int = option(5, count(1))  # Classes of each photo.
    csv: cli.Text = None  # Write path,class_1,probability_1,class_2,... to this file.
    json: cli.Text = None  # Write a list of {"path", "classes"} to this file.
    batch_size: int = option(32, count(1, 2**16))  # Photos that are computed together.
    # A photo that cannot be read is named and left out, or stops the command.
    on_error: Literal["skip", "stop"] = "skip"
    # A setting of a weights file over what is found, such as num_heads=3 or gelu=tanh.
    weights_option: cli.WeightsOption = ()
    upright: cli.Flag = False  # Rotate photos by their EXIF orientation in any case.
    no_upright: cli.Flag = False  # Do not rotate them in any case.

    def check(self) -> None:
        require(
            bool(self.paths) and all(self.paths),
            "no photo is given: give image files or folders after RUN",
        )


def run(options: Options) -> int:
    """Prints a line for each photo, or writes files.

    Raises:
      UserError: RUN cannot be read, no photo can be, or a file cannot be written.
    """
    found = find_photos(options.paths)
    read = (*found.files, options.run)
    csv, json = files_to_write(read, csv=options.csv, json=options.json)
    cli.cache_programs()
    classifier = make_classifier(
        cli.load_weights(options.run, options.weights_option), cli.turned(options)
    )
    to_files, began = bool(csv or json), time.perf_counter()
    shown = to_files or not sys.stdout.isatty()
    predictions = []
    for each in predict_files(
        classifier, found.files, options.top_k, options.batch_size, options.on_error, cli.to_stderr,
        cli.show_progress(shown and len(found.files) > options.batch_size),
    ):  # fmt: skip
        predictions.append(each)
        if not to_files:
            print(each, flush=sys.stdout.isatty())
    lost = len(found.files) - len(predictions)
    if not predictions:
        raise UserError(f"none of {lost} photo(s) can be read: the lines above say why")
    if csv:
        write_csv(csv, predictions, min(options.top_k, len(classifier.labels)))
    if json:
        write_json(json, predictions)
    cli.tell_passed_over(found.passed_over)
    if to_files or lost:
        rate = len(predictions) / (time.perf_counter() - began)
        unread = f", {lost} that cannot be read left out" if lost else ""
        cli.to_stderr(f"{len(predictions):,} photos predicted{unread}; {rate:,.1f} images/s")
    return 0
