"""A directory of images, one folder a class."""

from pathlib import Path

from jaxvit.config import UserError
from jaxvit.data.examples import Examples, Source
from jaxvit.data.files import examples_from_files

SUFFIXES = {".jpg", ".jpeg", ".png"}
# Names that mean a split and not a class, however they are written; train/ itself aside.
SPLIT_LIKE = {"training", "val", "valid", "validation", "test", "testing"}


def load_folder(root: Path) -> Source:
    """DIR/<class>/*.jpg, or DIR/{train,val,test}/<class>/*.jpg where DIR/train exists.

    Files are those that end in .jpg, .jpeg or .png, in any case and at any depth below the class;
    names that begin with a dot are passed over. Classes are the folders of the training split in
    alphabetical order, and a class without images there is refused.

    Raises:
      UserError: the directory is missing or holds no images, a class has none to train on, or
        another split has a class that training has not.
    """
    if not root.is_dir():
        raise UserError(f"--data.dir {root} is not a directory: give one with a folder a class")
    if not (root / "train").is_dir():
        for path in root.iterdir():
            if path.is_dir() and path.name.lower() in SPLIT_LIKE:
                raise UserError(
                    f"{root} has a folder {path.name}/ but none called train/: splits are called "
                    f"train/, val/ and test/; rename {path.name}/ if it is a class"
                )
        class_names = _folders(root)
        return Source(class_names, {"train": _examples(root, class_names, needs_all=True)})
    for path in root.iterdir():
        if path.is_dir() and path.name not in ("val", "test") and path.name.lower() in SPLIT_LIKE:
            raise UserError(
                f"{root} has a folder {path.name}/ beside train/: call it val/ or test/"
            )
    class_names = _folders(root / "train")
    splits = {"train": _examples(root / "train", class_names, needs_all=True)}
    for split in ("val", "test"):
        if (root / split).is_dir():
            strangers = sorted(set(_folders(root / split, 1)) - set(class_names))
            if strangers:
                raise UserError(
                    f"{root / split} has a class {strangers[0]!r} that {root / 'train'} has not: "
                    "add images to train on, or remove it"
                )
            splits[split] = _examples(root / split, class_names, needs_all=False)
    return Source(class_names, splits)


def _folders(root: Path, least: int = 2) -> tuple[str, ...]:
    names = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(names) < least:
        raise UserError(
            f"{root} has {len(names)} class folder(s), but at least {least} must be there: "
            "put the images of each class in a folder of its own"
        )
    return tuple(names)


def _examples(root: Path, class_names: tuple[str, ...], needs_all: bool) -> Examples:
    paths, labels = [], []
    for label, name in enumerate(class_names):
        found = sorted(
            p
            for p in (root / name).rglob("*")
            if p.suffix.lower() in SUFFIXES
            and p.is_file()
            and not any(part.startswith(".") for part in p.relative_to(root).parts)
        )
        if needs_all and not found:
            raise UserError(
                f"class {root / name} has no .jpg or .png image: add some, or remove the folder"
            )
        paths += found
        labels += [label] * len(found)
    return examples_from_files(root, paths, labels)
