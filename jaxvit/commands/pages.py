"""The report page of a finished run, and of an evaluation."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import numpy as np
from PIL import Image

from jaxvit.augment.normalize import normalize
from jaxvit.config import Config, as_json, flat, is_flag
from jaxvit.data.datasets import load_dataset
from jaxvit.errors import UnreadableImage, UserError
from jaxvit.explain.attention_map import has_attention
from jaxvit.explain.attention_rollout import attention_rollout
from jaxvit.explain.grad_cam import grad_cam
from jaxvit.interop.evaluation import Evaluated
from jaxvit.interop.labelled import Labelled, changed
from jaxvit.interop.predictions import Usable
from jaxvit.interop.saved_run import load_run, read_config
from jaxvit.interop.tables import write_text
from jaxvit.models.variables import variables_of
from jaxvit.pages.about import About
from jaxvit.pages.features import render_features_page
from jaxvit.pages.generation import render_generation_page
from jaxvit.pages.page import SIDE, Scored, render_page, thumbnail_rows, worst_rows
from jaxvit.pages.thumbnails import reduced
from jaxvit.paths import legible, one_line
from jaxvit.presets import PRESETS
from jaxvit.runs.directory import OUTPUTS, read_metrics
from jaxvit.runtime.distributed import is_main
from jaxvit.runtime.interrupt import say_when_stopped
from jaxvit.runtime.machine import describe_machine

NAME = "report.html"
PLOTS = {
    "feature_map": "Test images by their features", "neighbours": "Nearest neighbours",
    "views": "Views of training images", "small_views": "Their smaller views",
    "samples": "Images that were made", "progress": "The same noise, as training went",
    "reverse_process": "From noise to images", "copies": "The nearest training images",
}  # fmt: skip
BATCH_SIZE = 8  # images whose overlays are computed together
START = ("resume", "overwrite", "extend")  # what they ask for depends on what is there already
RESULT = (
    "scored_step", "epochs", "steps", "stopped_early", "parameters", "params_sha256",
    "images_per_sec", "wall_sec", "compile_sec", "skipped_images", "note",
)  # fmt: skip


def write_run_page(path: Path) -> Path:
    """RUN/report.html, from what the run has saved and, for a classifier, from its images.

    Raises:
      UserError: it is no finished run, or its images are not there.
    """
    config, summary = read_config(path), _read_summary(path)
    page = _classifier_page if config.has_head else _pictures_page
    write_text(path / NAME, page(path, config, summary))
    return path / NAME


def _classifier_page(path: Path, config: Config, summary: Mapping[str, Any]) -> str:
    run = load_run(path, warn=lambda line: None)
    found, data = _read_outputs(path), config.data
    dataset = load_dataset(data.without_extra(), run.model.img_size, data.channels)
    if what := changed(path, "test", dataset):
        raise UserError(
            f"the test images are not those that {path} has scored ({what}): restore them, or "
            f"score those of a folder: python -m jaxvit evaluate {path} DIR"
        )
    test = dataset.test
    scored = Scored(
        tuple(map(legible, test.names)),
        test.labels,
        found["outputs/label"],
        found["outputs/confidence"],
        found["outputs/label_probability"],
        test.images,
        _test_metrics(summary),
        found["counts/confusion"],
        tuple(found[f"counts/bin_{name}"] for name in ("count", "confidence", "correct")),
    )
    about = _about(path, config, summary)._replace(
        augmented=_picture(path / "plots" / "augmented_images.png"), overlay=overlay_of(run.model)
    )
    return render_page(about, scored, run.class_names, make_overlays(run, scored))


def _pictures_page(path: Path, config: Config, summary: Mapping[str, Any]) -> str:
    """Of features, or of images that were made: what the run has drawn."""
    pictures = [
        (title, picture)
        for name, title in PLOTS.items()
        if (picture := _picture(path / "plots" / f"{name}.png")) is not None
    ]
    about, metrics = _about(path, config, summary), _test_metrics(summary)
    if config.makes_images:
        return render_generation_page(about, metrics, pictures)
    return render_features_page(about, metrics, summary["images"]["test"], pictures)


def _test_metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    return {name[5:]: value for name, value in summary.items() if name.startswith("test/")}


def _about(path: Path, config: Config, summary: Mapping[str, Any]) -> About:
    images = summary["images"]
    return About(
        f"{path.name}: {images['test']:,} test images",
        {
            "Data": [(split, f"{number:,} images") for split, number in images.items()],
            "Result": [(name, summary[name]) for name in RESULT if name in summary],
            "Configuration": sorted(flat(as_json(config)).items()),
            "Hardware and versions": _machine(summary),
        },
        training_command(summary["preset"], config),
        read_metrics(path),
    )


def try_run_page(path: Path, say: Callable[[str], None]) -> None:
    """The page of a run that has just finished; what goes wrong is said and costs nothing."""
    again = f"python -m jaxvit report {path}"
    say_when_stopped(f"stopped: the run is finished, but not its {NAME}: {again} writes it")
    try:
        if is_main():
            write_run_page(path)
    except Exception as error:  # the run is finished, whatever happens here
        reason = one_line(str(error)) or type(error).__name__
        say(f"{NAME} could not be written ({reason}): {again} tries again")


def write_evaluation_page(
    path: Path,
    said: Sequence[str],
    source: Usable,
    labels: Sequence[str],
    labelled: Labelled,
    evaluated: Evaluated,
) -> None:
    """The page of an evaluation, whose images are read once more; those it may show are kept.

    Args:
      path: of the page.
      said: what the command was given: the run, the images, and options.
      source: whose model was evaluated.
      labels: names of its classes.
      labelled: the images.
      evaluated: the result; images that could not be read are not in it.
    """
    images = (each for each in labelled.images() if not isinstance(each, UnreadableImage))
    predicted, counts = evaluated.predicted, evaluated.counts
    scored = Scored(
        evaluated.names, evaluated.labels, predicted.label, predicted.confidence,
        predicted.label_probability, lambda rows: (), evaluated.metrics, counts.confusion,
        (counts.bin_count, counts.bin_confidence, counts.bin_correct),
    )  # fmt: skip
    worst, shown = (set(rows.tolist()) for rows in (worst_rows(scored), thumbnail_rows(scored)))
    kept = {
        row: image if row in worst else reduced(image, SIDE)
        for row, image in enumerate(images)
        if row in worst or row in shown
    }
    scored = scored._replace(images=lambda rows: [kept[row] for row in rows])
    geometry = source.preprocessing.geometry._asdict()
    about = About(
        f"{said[0]} on {said[1]}",
        {
            "Data": [
                ("images", f"{len(scored.labels):,}"),
                ("left out", len(evaluated.unreadable)),
            ],
            "Preprocessing": list(geometry.items()),
            "Hardware and versions": _machine(describe_machine()),
        },
        shlex.join(["python", "-m", "jaxvit", "evaluate", *said]),
        overlay=overlay_of(source.model),
    )
    write_text(path, render_page(about, scored, labels, make_overlays(source, scored)))


def overlay_of(model) -> str:
    """What make_overlays computes."""
    return "attention rollout" if has_attention(model) else "Grad-CAM of the wrong answer"


def make_overlays(source: Usable, scored: Scored) -> dict[int, np.ndarray]:
    """A map of what the model looked at, for each of the worst errors."""
    rows = worst_rows(scored)
    weights = variables_of(source.params)
    mean, std = source.preprocessing.mean, source.preprocessing.std
    found: dict[int, np.ndarray] = {}
    for first in range(0, len(rows), BATCH_SIZE):
        part = rows[first : first + BATCH_SIZE]
        padded = np.resize(part, BATCH_SIZE)  # one program for all parts
        images = normalize(np.stack(scored.images(padded)), mean, std)
        if has_attention(source.model):
            maps = attention_rollout(source.model, weights, images)
        else:
            maps = grad_cam(source.model, weights, images, scored.predicted[padded])
        found |= zip(part.tolist(), jax.device_get(maps), strict=False)
    return found


def training_command(preset: str, config: Config) -> str:
    """python train_jax.py PRESET, with every option that is not the preset's.

    Without those that ask for a run that is there, so that it can be repeated elsewhere.
    """
    words = ["python", "train_jax.py", preset]
    before = flat(as_json(PRESETS[preset])) if preset in PRESETS else {}
    for name, value in flat(as_json(config)).items():
        if name in START or name not in before:
            continue
        if before[name] != value and value is not None:
            group, dot, last = name.replace("_", "-").rpartition(".")
            if is_flag(name):
                words.append(f"--{group}{dot}{'' if value else 'no-'}{last}")
                continue
            values = value if isinstance(value, list) else [value]
            words += [f"--{group}{dot}{last}", *map(str, values)]
    return shlex.join(words)


def _machine(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [*values["device"].items(), *values["versions"].items()]


def _picture(path: Path) -> np.ndarray | None:
    if not path.exists():
        return None
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        return json.loads((path / "summary.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} has no report: the run is not finished, or its summary.json is damaged "
            f"({error}); the same train_jax.py command finishes it"
        ) from error


def _read_outputs(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path / OUTPUTS) as file:
            return dict(file)
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise UserError(
            f"{path / OUTPUTS} cannot be read ({error}): runs of an earlier version have none; "
            "python -m jaxvit evaluate RUN test scores them again"
        ) from error
