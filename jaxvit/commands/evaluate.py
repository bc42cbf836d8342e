"""python -m jaxvit evaluate RUN DIR|SPLIT: scores on labelled photos, with intervals."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxvit.commands import arguments as cli
from jaxvit.commands.pages import NAME, write_evaluation_page
from jaxvit.config import count, option, require
from jaxvit.errors import UserError
from jaxvit.interop.evaluation import evaluate_images
from jaxvit.interop.evaluation_report import as_text, as_values
from jaxvit.interop.labelled import SPLITS, labelled_folder, labelled_split, read_class_names
from jaxvit.interop.load import inside_run
from jaxvit.interop.predictions import make_classifier
from jaxvit.interop.tables import files_to_write, write_values
from jaxvit.paths import user_path
from jaxvit.runtime.digest import sha256


@dataclass(frozen=True)
class Options:
    """Scores on labelled photos, each with every class's accuracy, confusions and worst errors."""

    run: cli.Run  # A run, a weights file, or hf://OWNER/NAME.
    # A directory with a folder for each class, some of which may be missing; or train, val or test:
    # that split of the data that the run was trained on.
    data: cli.Data
    report: cli.Text = None  # The page, with errors and confusions; otherwise report.html here.
    json: cli.Text = None  # Write all scores and the confusion matrix to this file.
    classes: cli.Text = None  # The model's classes, one a line, in the order of its outputs.
    data_dir: cli.Directory = None  # Of a split: where the run's images are now.
    batch_size: int = option(32, count(1, 2**16))  # Photos that are computed together.
    # A photo of DIR that cannot be read is named and left out, or stops the command.
    on_error: Literal["skip", "stop"] = "skip"
    # A setting of a weights file over what is found, such as num_heads=3 or gelu=tanh.
    weights_option: cli.WeightsOption = ()
    upright: cli.Flag = False  # Rotate photos of DIR by their EXIF orientation in any case.
    no_upright: cli.Flag = False  # Do not rotate them in any case.

    def check(self) -> None:
        other = self.data_dir is not None and self.data not in SPLITS
        require(not other, f"--data-dir goes with train, val or test, not with {self.data}")


def run(options: Options) -> int:
    """Prints the scores.

    Raises:
      UserError: RUN or the photos cannot be read, or a folder is no class of the model.
    """
    read = [each for each in (options.run, options.classes) if each is not None]
    if options.report is None and (around := inside_run(Path(NAME))):
        raise UserError(
            f"the page {NAME} would be written here, into the run {around}, which holds its files "
            "alone: give --report FILE in another place"
        )
    json, page = files_to_write(read, json=options.json, report=options.report or NAME)
    cli.cache_programs()
    found = cli.load_weights(options.run, options.weights_option)
    if options.classes is not None:
        names = read_class_names(user_path("classes", options.classes), found.num_classes)
        found = found._replace(class_names=names)
    classifier = make_classifier(found, cli.turned(options))
    if options.data in SPLITS:
        where = options.data_dir
        labelled = labelled_split(options.run, options.data, where, cli.show_progress())
    else:
        labelled = labelled_folder(user_path("data", options.data), classifier)
    evaluated = evaluate_images(
        classifier, labelled, options.batch_size, options.on_error, cli.to_stderr,
        cli.show_progress(),
    )  # fmt: skip
    cli.tell_passed_over(labelled.passed_over)
    if evaluated.unreadable:
        cli.to_stderr(f"{len(evaluated.unreadable)} photo(s) that cannot be read are not scored")
    if json:
        what = {"path": options.data, "weights": options.run}
        what["params_sha256"] = sha256(found.params)
        write_values(json, what | as_values(evaluated, classifier.labels, found.preprocessing))
    print(as_text(evaluated, classifier.labels), flush=True)
    said = cli.words_of(options, "report", "json")
    write_evaluation_page(page, said, found, classifier.labels, labelled, evaluated)
    cli.to_stderr(f"the page is {page}")
    return 0
