"""Images with the classes that they are of: a folder for each class, or a split of a run's data."""

import difflib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxvit.data.cache import Track, no_tracking
from jaxvit.data.datasets import load_dataset
from jaxvit.data.decoded import SPLITS, Dataset, describe
from jaxvit.data.photos import decode_photos, photos_in
from jaxvit.errors import UnreadableImage, UserError
from jaxvit.interop.load import is_run
from jaxvit.interop.predictions import Classifier
from jaxvit.interop.saved_run import read_config
from jaxvit.paths import legible

WORDNET = re.compile(r"(n\d{8})\b")  # ImageNet's folders, at the start of "n01440764 tench"


class Labelled(NamedTuple):
    """Images and their labels, in one order.

    Attributes:
      names: of the N images.
      labels: int32 (N,), indices of the model's classes.
      images: a new iterator of the N images, uint8 (S, S, C), or of errors in their places.
      passed_over: suffix -> number of files with it, of formats that are not decoded here.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    images: Callable[[], Iterator[np.ndarray | UnreadableImage]]
    passed_over: Counter[str]


def read_class_names(file: Path, num_classes: int) -> tuple[str, ...]:
    """One class a line, in the order of the model's outputs.

    Raises:
      UserError: it cannot be read, or holds another number of different names than num_classes.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--classes {file} cannot be read ({reason}): give a text file") from error
    names = tuple(line.strip() for line in lines)
    while names and not names[-1]:
        names = names[:-1]
    if len(names) != num_classes:
        raise UserError(
            f"--classes {file} has {len(names)} lines, but the model has {num_classes} classes: "
            "give one name a line, in the order of the model's outputs"
        )
    twice = [name for name, number in Counter(names).items() if number > 1 or not name]
    if twice:
        raise UserError(
            f"--classes {file} names {twice[0]!r} {names.count(twice[0])} time(s): give each class "
            "a line and a name of its own"
        )
    return names


def labelled_folder(directory: Path, classifier: Classifier) -> Labelled:
    """DIR/<class>/*.jpg, the folders in any order; classes without a folder have no image.

    A folder belongs to the class of the same name. A class whose name begins with a WordNet number,
    as in "n01440764 tench", may also have a folder n01440764.

    Raises:
      UserError: there is no folder or no image, or a folder's name is no class of the model.
    """
    if not directory.is_dir():
        raise UserError(
            f"{directory} is not a directory: give one with a folder for each class, or one of "
            f"{', '.join(SPLITS)} for a split of the run's own data"
        )
    folders = sorted(
        path for path in directory.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    if not folders:
        raise UserError(f"{directory} has no folder: put the images of each class in one")
    files: list[Path] = []
    labels: list[int] = []
    passed_over: Counter[str] = Counter()
    index_of = _indices(classifier.labels)
    for folder in folders:
        label = index_of.get(legible(folder.name))
        if label is None:
            raise UserError(_no_class(folder, classifier.labels))
        inside, others = photos_in(folder)
        files += inside
        labels += [label] * len(inside)
        passed_over += others
    if not files:
        raise UserError(f"the folders of {directory} hold no image: put the images into them")
    return Labelled(
        tuple(legible(path.relative_to(directory)) for path in files),
        np.asarray(labels, np.int32),
        lambda: decode_photos(files, classifier.geometry, classifier.channels, classifier.upright),
        passed_over,
    )


def _indices(labels: Sequence[str]) -> dict[str, int]:
    """Class index by folder name."""
    numbers = {}
    for index, name in enumerate(labels):
        if found := WORDNET.match(name):
            numbers[found[1]] = index
    return numbers | {name: index for index, name in enumerate(labels)}


def _no_class(folder: Path, labels: Sequence[str]) -> str:
    name = legible(folder.name)
    by_lower = {label.lower(): label for label in labels}
    near = [by_lower[low] for low in difflib.get_close_matches(name.lower(), by_lower, 3, 0.5)]
    near += [label for label in labels if name.lower() in label.lower() and label not in near]
    message = f"the folder {name!r} in {legible(folder.parent)} is none of the model's classes"
    if name in SPLITS:
        return f"{message}: if it is a split, give {legible(folder)}"
    if all(label.isdecimal() for label in labels):
        return (
            f"{message}, of which no names are known (they are 0 to {len(labels) - 1}): give them "
            "with --classes FILE, one name a line in the order of the model's outputs"
        )
    if near:
        return f"{message}: perhaps it is {' or '.join(map(repr, near[:3]))}; rename the folder"
    known = ", ".join(map(repr, labels[:5])) + (", ..." if len(labels) > 5 else "")
    return f"{message} ({known}): rename or remove it, or give --classes FILE"


def labelled_split(
    run: str, split: str, data_dir: str | None = None, track: Track = no_tracking
) -> Labelled:
    """A split of the data that a run was trained on, decoded as for its scores; no generated image.

    Args:
      run: its directory.
      split: "train", "val" or "test".
      data_dir: where the images are now; None for where they were.
      track: shows the progress of decoding.

    Raises:
      UserError: it is no run, or the images are not found or not those of the run.
    """
    path = Path(run).expanduser()
    if not is_run(path):
        raise UserError(f"{run} is no run, so it has no {split} split: give a folder of images")
    config = read_config(path)
    data = replace(config.data.without_extra(), stored_scale=1.0, dir=data_dir or config.data.dir)
    try:
        dataset = load_dataset(data, config.model.img_size, data.channels, track)
    except UserError as error:
        raise UserError(
            f"the {split} split of {run} cannot be decoded as in training ({error}): say where its "
            "images are now with --data-dir DIR, or give a folder of images"
        ) from error
    found = getattr(dataset, split)
    larger = split == "train" and config.data.stored_scale != 1  # these were stored at another size
    if what := changed(path, split, dataset, names_only=larger):
        raise UserError(
            f"the {split} images are not those of the run {run} ({what}), so that some may have "
            "been trained on: restore them, or give a folder of images"
        )
    return Labelled(
        found.names,
        found.labels,
        lambda: (found.pixels[row] for row in found.rows),
        Counter(),
    )


def changed(run: Path, split: str, dataset: Dataset, names_only: bool = False) -> str | None:
    """How the images of a split differ from those that a run had, in a few words; None if they
    do not.

    Raises:
      UserError: the run's split.json cannot be read.
    """
    now, before = describe(dataset)[split], described(run, split)
    if names_only:
        now, before = dict.fromkeys(now), dict.fromkeys(before)
    # A dict of the same entries in another order is equal, but its rows are other images.
    return None if list(now.items()) == list(before.items()) else _difference(before, now)


def _difference(before: dict[str, str], now: dict[str, str]) -> str:
    for what, names in (
        ("gone is", before.keys() - now.keys()),
        ("new is", now.keys() - before.keys()),
        ("changed is", {name for name in before.keys() & now.keys() if before[name] != now[name]}),
    ):
        if names:
            return f"{what} {min(names)}"
    return "their order"


def described(run: Path, split: str) -> dict[str, str]:
    """The CRC-32 of each real image of a split, by name, from a run's split.json.

    Raises:
      UserError: it cannot be read.
    """
    try:
        whole = json.loads((run / "split.json").read_text())
        found = list(whole[split].items())
        generated = whole.get("extra_images", 0) if split == "train" else 0  # the last ones
        return dict(found[: len(found) - generated])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{run}/split.json cannot be read ({error}): restore it") from error
