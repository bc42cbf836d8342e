"""Data sets of TensorFlow Datasets. One prepared as ArrayRecord is read without TensorFlow."""

import hashlib
from pathlib import Path

import numpy as np
from filelock import FileLock

from jaxvit.data.examples import Examples, Source
from jaxvit.data.images import decode_image
from jaxvit.data.preprocessing import Geometry
from jaxvit.errors import UserError


def load_tfds(name: str, data_dir: Path | None, upright: bool, file_name: str) -> Source:
    """The splits "train" and "test" of a TFDS data set, prepared where it is not yet.

    Args:
      name: of TFDS: "oxford_iiit_pet", "cifar10".
      data_dir: of TFDS; None for its own.
      upright: whether images are rotated by their EXIF orientation.
      file_name: the feature that names an example.

    Raises:
      UserError: it cannot be prepared, or is there in another file format.
    """
    import tensorflow_datasets as tfds

    place = {} if data_dir is None else {"data_dir": str(data_dir)}
    try:
        builder = tfds.builder(name, file_format="array_record", **place)
    except ValueError as error:  # it is prepared in another file format
        raise UserError(
            f"{name} is there but not as ArrayRecord ({' '.join(str(error).split())[:200]}): "
            "give an empty --data.dir DIR to prepare it again"
        ) from error
    if not builder.is_prepared():
        place = builder.data_path.parents[1]
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / f".{name}.lock"):  # only one process prepares it
            if not builder.is_prepared():
                _prepare(name, builder)
    return Source(
        class_names=tuple(
            " ".join(part.title() for part in label.split("_"))
            for label in builder.info.features["label"].names
        ),
        splits={
            split: _examples(name, builder, split, upright, file_name)
            for split in ("train", "test")
        },
    )


def _prepare(name: str, builder) -> None:
    where = builder.data_path.parents[1]
    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{name} is not prepared under {where}, and preparing it once needs TensorFlow: "
            'pip install "jaxvit[tfds]" and run this again, or prepare it elsewhere with '
            f"python -c \"import tensorflow_datasets as t; t.builder('{name}', "
            f"data_dir='{where}', file_format='array_record').download_and_prepare()\", or give "
            "the original files with --data.dir DIR"
        ) from error
    try:
        builder.download_and_prepare()
    except Exception as error:  # TFDS re-raises any error of its downloader and its reader
        reason = " ".join(str(error).split())
        raise UserError(
            f"{name} could not be prepared under {where} ({type(error).__name__}: "
            f"{reason[:300]}): check the network, or give the original files with --data.dir DIR"
        ) from error


def _examples(name: str, builder, split: str, upright: bool, file_name: str) -> Examples:
    import tensorflow_datasets as tfds

    # The image stays encoded, because decode_image decodes and resizes those of every source. The
    # pets' mask is not used, so it is not decoded.
    encoded = {"image", "segmentation_mask"} & set(builder.info.features)
    records = builder.as_data_source(
        split, decoders={feature: tfds.decode.SkipDecoding() for feature in encoded}
    )
    names, labels = [], []
    for record in records:
        names.append(record[file_name].decode())
        labels.append(int(record["label"]))

    def pixels(index: int, geometry: Geometry) -> np.ndarray:
        what = f"{name}/{names[index]}"
        return decode_image(records[index]["image"], geometry, what, upright=upright)

    files = [Path(f) for f in builder.info.splits[split].filepaths]
    stats = "".join(f"{f.resolve()}\0{f.stat().st_size}\0{f.stat().st_mtime_ns}\n" for f in files)
    return Examples(
        names=tuple(names),
        labels=np.asarray(labels, np.int32),
        pixels=pixels,
        fingerprint=hashlib.sha256(f"{upright}{stats}".encode()).hexdigest(),
    )
