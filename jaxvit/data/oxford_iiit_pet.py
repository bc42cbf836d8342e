"""Oxford-IIIT Pet: 37 breeds of cats and dogs, from the original files or from TFDS.

Source: Parkhi et al., "Cats and Dogs", CVPR 2012. The official trainval split is the training
split here, and validation is held out from it. The test split is the official one.
"""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
from filelock import FileLock

from jaxvit.data.examples import Examples, Source
from jaxvit.data.files import examples_from_files
from jaxvit.data.images import decode_image
from jaxvit.data.preprocessing import Geometry
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
    return _from_tfds(directory, upright)


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


# TensorFlow Datasets. A data set prepared as ArrayRecord is read without TensorFlow.


def _from_tfds(data_dir: Path | None, upright: bool) -> Source:
    import tensorflow_datasets as tfds

    place = {} if data_dir is None else {"data_dir": str(data_dir)}
    try:
        builder = tfds.builder(TFDS_NAME, file_format="array_record", **place)
    except ValueError as error:  # it is prepared in another file format
        raise UserError(
            f"{TFDS_NAME} is there but not as ArrayRecord ({' '.join(str(error).split())[:200]}): "
            "give an empty --data.dir DIR to prepare it again"
        ) from error
    if not builder.is_prepared():
        place = builder.data_path.parents[1]
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / f".{TFDS_NAME}.lock"):  # only one process prepares it
            if not builder.is_prepared():
                _prepare(builder)
    return Source(
        class_names=tuple(
            " ".join(part.title() for part in name.split("_"))
            for name in builder.info.features["label"].names
        ),
        splits={s: _tfds_examples(builder, s, upright) for s in ("train", "test")},
    )


def _prepare(builder) -> None:
    where = builder.data_path.parents[1]
    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{TFDS_NAME} is not prepared under {where}, and preparing it once needs TensorFlow: "
            'pip install "jaxvit[tfds]" and run this again, or prepare it elsewhere with '
            f"python -c \"import tensorflow_datasets as t; t.builder('{TFDS_NAME}', "
            f"data_dir='{where}', file_format='array_record').download_and_prepare()\", or give "
            "the original files with --data.dir DIR"
        ) from error
    try:
        builder.download_and_prepare()
    except Exception as error:  # TFDS re-raises any error of its downloader and its reader
        reason = " ".join(str(error).split())
        raise UserError(
            f"{TFDS_NAME} could not be prepared under {where} ({type(error).__name__}: "
            f"{reason[:300]}): check the network, or give the original files with --data.dir DIR"
        ) from error


def _tfds_examples(builder, split: str, upright: bool) -> Examples:
    import tensorflow_datasets as tfds

    # The image stays encoded, because decode_image decodes and resizes those of every source. The
    # mask is not used, so it is not decoded.
    skip = tfds.decode.SkipDecoding()
    records = builder.as_data_source(split, decoders={"image": skip, "segmentation_mask": skip})
    names, labels = [], []
    for record in records:
        names.append(record["file_name"].decode())
        labels.append(int(record["label"]))

    def pixels(index: int, geometry: Geometry) -> np.ndarray:
        name = f"{TFDS_NAME}/{names[index]}"
        return decode_image(records[index]["image"], geometry, name, upright=upright)

    files = [Path(f) for f in builder.info.splits[split].filepaths]
    stats = "".join(f"{f.resolve()}\0{f.stat().st_size}\0{f.stat().st_mtime_ns}\n" for f in files)
    return Examples(
        names=tuple(names),
        labels=np.asarray(labels, np.int32),
        pixels=pixels,
        fingerprint=hashlib.sha256(f"{upright}{stats}".encode()).hexdigest(),
    )
