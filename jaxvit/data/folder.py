"""A directory of images, with one folder for each class."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxvit.data.examples import Examples, Source
from jaxvit.data.files import examples_from_files
from jaxvit.errors import UserError
from jaxvit.paths import legible

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}
# Image formats that are not decoded here: such files are counted and reported.
OTHER_SUFFIXES = {
    ".heic", ".heif", ".avif", ".tif", ".tiff", ".jxl", ".jp2", ".svg", ".psd", ".raw", ".dng",
    ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf",
}  # fmt: skip
# Folder names, in any case, that are taken for a split and not for a class; besides train/.
SPLIT_LIKE = {"training", "val", "valid", "validation", "test", "testing"}

UNLABELLED = "image"  # the class of images without labels


def load_folder(root: Path, upright: bool = True, labelled: bool = True) -> Source:
    """DIR/<class>/*.jpg, or DIR/{train,val,test}/<class>/*.jpg where DIR/train exists.

    Image files end in one of SUFFIXES, in any case and at any depth below the class. Symbolic links
    are followed; names that begin with a dot are ignored. Classes are the folders of the training
    split in alphabetical order; each needs at least one image there.

    Args:
      root: DIR.
      upright: whether photos are rotated by their EXIF orientation.
      labelled: whether folders are classes; otherwise every image below DIR, or below DIR/train,
        is of one class.

    Raises:
      UserError: the directory is missing, has no image, has fewer than two classes, a class
        without a training image or a class that only another split has, or a folder cannot be
        listed.
    """
    if not root.is_dir():
        raise UserError(f"--data.dir {root} is not a directory: give one with a folder per class")
    if not labelled:
        return _unlabelled(root, upright)
    if not (root / "train").is_dir():
        for path in root.iterdir():
            if path.is_dir() and path.name.lower() in SPLIT_LIKE:
                raise UserError(
                    f"{root} has a folder {path.name}/ but none called train/: splits are called "
                    f"train/, val/ and test/; rename {path.name}/ if it is a class"
                )
        class_names, passed_over = _folders(root), Counter()
        train = _examples(root, class_names, upright, passed_over, needs_all=True)
        return Source(_labels(class_names), {"train": train}, passed_over)
    for path in root.iterdir():
        if path.is_dir() and path.name not in ("val", "test") and path.name.lower() in SPLIT_LIKE:
            raise UserError(
                f"{root} has a folder {path.name}/ beside train/: call it val/ or test/"
            )
    class_names, passed_over, seen = _folders(root / "train"), Counter(), {}
    train = _examples(root / "train", class_names, upright, passed_over, needs_all=True, seen=seen)
    splits = {"train": train}
    for split in ("val", "test"):
        if (root / split).is_dir():
            strangers = sorted(set(_folders(root / split, 1)) - set(class_names))
            if strangers:
                raise UserError(
                    f"{root / split} has a class {strangers[0]!r} that {root / 'train'} has not: "
                    "add images to train on, or remove it"
                )
            splits[split] = _examples(
                root / split, class_names, upright, passed_over, needs_all=False, seen=seen
            )
    return Source(_labels(class_names), splits, passed_over)


def load_images_of(root: Path, class_names: Sequence[str], channels: int) -> Examples:
    """DIR/<class>/*.png of known classes, of which a folder may be missing.

    Args:
      root: DIR, of --data.extra-dir.
      class_names: in the order of the labels.
      channels: 3 for RGB, 1 for grey.

    Raises:
      UserError: it is no directory, or a folder is no class.
    """
    if not root.is_dir():
        raise UserError(
            f"--data.extra-dir {root} is not a directory: python -m jaxvit sample RUN makes one"
        )
    folders = {legible(name): name for name in _folders(root, 0)}
    strangers = sorted(folders.keys() - set(class_names))
    if strangers:
        raise UserError(
            f"{root} has a folder {strangers[0]!r}, which is no class of the training images "
            f"({', '.join(class_names[:5])}{', ...' if len(class_names) > 5 else ''}): remove it"
        )
    here = tuple(folders.get(name, name) for name in class_names)
    return _examples(root, here, False, Counter(), needs_all=False, channels=channels)


def _unlabelled(root: Path, upright: bool) -> Source:
    """DIR at any depth, or DIR/train, DIR/val and DIR/test, as images of one class."""
    passed_over: Counter[str] = Counter()
    places = {split: root / split for split in ("train", "val", "test")}
    places = {split: place for split, place in places.items() if place.is_dir()}
    if "train" not in places:
        places = {"train": root}
    seen: dict[Path, Path] = {}
    splits = {
        split: _examples(place, (".",), upright, passed_over, needs_all=False, seen=seen)
        for split, place in places.items()
    }
    if not len(splits["train"].labels):
        raise UserError(
            f"{places['train']} has no image ({', '.join(sorted(SUFFIXES))}), at any depth: give "
            "the directory that holds your photos"
        )
    return Source((UNLABELLED,), splits, passed_over)


def _folders(root: Path, least: int = 2) -> tuple[str, ...]:
    names = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(names) < least:
        raise UserError(
            f"{root} has {len(names)} class folder(s), but at least {least} must be there: "
            "put the images of each class in a folder of its own, or, for --method "
            "instance_discrimination, give --data.no-labels"
        )
    return tuple(names)


def _examples(
    root: Path,
    class_names: tuple[str, ...],
    upright: bool,
    passed_over: Counter[str],
    needs_all: bool,
    channels: int = 3,
    seen: dict[Path, Path] | None = None,
) -> Examples:
    paths, labels = [], []
    for label, name in enumerate(class_names):
        files = sorted(images_in(root / name))
        found = [path for path in files if path.suffix.lower() in SUFFIXES]
        passed_over.update(p.suffix.lower() for p in files if p.suffix.lower() not in SUFFIXES)
        if needs_all and not found:
            others = f", but {len(files)} that cannot be read here: convert them" if files else ""
            raise UserError(
                f"class {root / name} has no image ({', '.join(sorted(SUFFIXES))}){others}: add "
                "some, or remove the folder"
            )
        paths += found
        labels += [label] * len(found)
    return examples_from_files(root, paths, labels, upright, channels, seen)


def images_in(folder: Path) -> Iterator[Path]:
    """Files with the suffix of an image format, whether that is decoded here or not."""

    def refuse(error: OSError) -> None:
        if isinstance(error, FileNotFoundError):  # validation and test need not have every class
            return
        raise UserError(
            f"{error.filename} cannot be listed ({error.strerror}): make it readable, or move "
            "it away"
        )

    seen = set()  # symbolic links may form a cycle
    for directory, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        seen.add(os.path.realpath(directory))
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(Path(directory, name)) not in seen
        )
        for name in files:
            path = Path(directory, name)
            # A dangling link counts as a missing image.
            wanted = path.is_file() or (path.is_symlink() and not path.exists())
            named = path.suffix.lower() in SUFFIXES | OTHER_SUFFIXES
            if named and not name.startswith(".") and wanted:
                yield path


def _labels(folders: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(legible, folders))
