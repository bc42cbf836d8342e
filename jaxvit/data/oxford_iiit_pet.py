"""Oxford-IIIT Pet: 37 breeds of cats and dogs, from the original files or from TFDS.

Source: Parkhi et al., "Cats and Dogs", CVPR 2012. The official trainval split is the training
split here, and validation is held out from it. The test split is the official one.
"""

from collections import Counter
from pathlib import Path

from jaxvit.data.examples import Examples, Source
from jaxvit.data.files import examples_from_files
from jaxvit.data.tfds import load_tfds
from jaxvit.errors import UserError

TFDS_NAME = "oxford_iiit_pet"
CLASS_IDS = {str(number) for number in range(1, 38)}


def load_oxford_iiit_pet(directory: Path | None, upright: bool = False) -> Source:
    """The original files if `directory` holds them, otherwise the TFDS data set.

    Args:
      directory: holds `images/` and `annotations/{trainval,test}.txt`, itself or in a folder
        `oxford-iiit-pet` (as torchvision lays it out); or is a TFDS data_dir. None means TFDS's
        own data_dir.
      upright: whether images are rotated by their EXIF orientation; the lab does not.

    Returns:
      A source with the splits "train" (trainval) and "test".

    Raises:
      UserError: the directory is missing or holds something else, the annotations are wrong, or
        TFDS cannot prepare the data set.
    """
    if directory is not None:
        if not directory.is_dir():
            raise UserError(
                f"--data.dir {directory} is not a directory: give the one that holds images/ and "
                "annotations/, or a TFDS data_dir"
            )
        for root in (directory, directory / "oxford-iiit-pet"):
            if (root / "images").is_dir() and (root / "annotations").is_dir():
                return _from_original(root, upright)
        if any(directory.iterdir()) and not (directory / TFDS_NAME).is_dir():
            raise UserError(
                f"--data.dir {directory} holds neither both of images/ and annotations/ nor a TFDS "
                "data set: for one folder of images for each class add --data.name folder; to let "
                "TFDS prepare the data set there, give an empty directory"
            )
    return load_tfds(TFDS_NAME, directory, upright, file_name="file_name")


# The original layout.


def _from_original(root: Path, upright: bool) -> Source:
    trainval, breeds = _read_list(root, "trainval", upright)
    test, test_breeds = _read_list(root, "test", upright)
    twice = [name for name, times in Counter(trainval.names + test.names).items() if times > 1]
    if twice:
        raise UserError(f"{root / 'annotations'} lists {twice[0]} more than once: keep one line")
    if len(breeds) < 2 or not test_breeds.keys() <= breeds.keys():
        raise UserError(
            f"{root / 'annotations' / 'trainval.txt'} has {len(breeds)} classes, and it needs at "
            "least 2 and every class of test.txt: add lines"
        )
    missing = set(range(max(breeds) + 1)) - set(breeds)
    if missing:
        raise UserError(
            f"{root / 'annotations'} lists no image of class {min(missing) + 1}: every class id "
            f"from 1 to {max(breeds) + 1} needs at least one"
        )
    class_names = tuple(breeds[label] for label in sorted(breeds))
    return Source(class_names, {"train": trainval, "test": test})


def _read_list(root: Path, split: str, upright: bool) -> tuple[Examples, dict[int, str]]:
    """A split's examples, and the breed of each label, from annotations/{split}.txt.

    Lines are "NAME CLASS-ID SPECIES BREED-ID"; class ids start at 1, labels at 0.
    """
    path = root / "annotations" / f"{split}.txt"
    if not path.is_file():
        raise UserError(f"{path} is missing: --data.dir needs the annotations of the data set")
    paths, labels, breeds = [], [], {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason}): convert it") from error
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split()
        if len(fields) < 2 or fields[1] not in CLASS_IDS or "/" in fields[0]:
            raise UserError(
                f"{path}, line {number}: {line!r} is not 'NAME CLASS-ID ...' with an id from 1 "
                "to 37: correct the line"
            )
        name, label = fields[0], int(fields[1]) - 1
        paths.append(root / "images" / f"{name}.jpg")
        labels.append(label)
        # "great_pyrenees_120" is an image of a "Great Pyrenees".
        breeds[label] = " ".join(part.title() for part in name.split("_")[:-1])
    if not paths:
        raise UserError(f"{path} lists no image: --data.dir needs at least one for each class")
    return examples_from_files(root, paths, labels, upright), breeds
