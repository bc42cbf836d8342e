"""CIFAR-10: 60,000 colour images of 32 x 32 pixels, ten classes, in its official binary version.

Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images". A record is a byte
for the class and 3,072 for the pixels: 32 rows of 32 columns of red, then of green, then of blue.
The pickles of the Python version are not read: a pickle can run code.
"""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from jaxvit.data.archives import Archive, fetch
from jaxvit.data.examples import Examples, Source
from jaxvit.data.preprocessing import Geometry
from jaxvit.data.tfds import load_tfds
from jaxvit.errors import UserError

ARCHIVE = Archive(
    title="CIFAR-10",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d13530",  # as its page gives it
    folder="cifar-10-batches-bin",
)
FILES = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}
NAMES = "batches.meta.txt"
SIDE, RECORDS = 32, 10_000  # pixels, and records of each file
RECORD_BYTES = 1 + 3 * SIDE * SIDE
TFDS_NAME = "cifar10"


def load_cifar10(directory: Path | None) -> Source:
    """The official binary files, or the TFDS data set.

    Args:
      directory: holds the binary files, itself or in a folder cifar-10-batches-bin, or the archive
        of them; or is a TFDS data_dir that holds cifar10; or is empty or missing: the archive is
        downloaded there and checked. None means TFDS's own data_dir.

    Returns:
      A source with the splits "train" and "test".

    Raises:
      UserError: the directory holds something else, a file has another size or content, or the
        archive cannot be downloaded.
    """
    if directory is None or (directory / TFDS_NAME).is_dir():
        return load_tfds(TFDS_NAME, directory, upright=False, file_name="id")
    for root in (directory, directory / ARCHIVE.folder):
        if (root / NAMES).is_file():
            return _from_binary(root)
    return _from_binary(fetch(ARCHIVE, directory))


def _from_binary(root: Path) -> Source:
    names = tuple((root / NAMES).read_text().split())
    if len(names) != 10:
        raise UserError(f"{root / NAMES} names {len(names)} classes, and CIFAR-10 has 10")
    return Source(names, {split: _examples(root, files) for split, files in FILES.items()})


def _examples(root: Path, files: tuple[str, ...]) -> Examples:
    records = np.concatenate([_read(root / name) for name in files])  # (N, RECORD_BYTES)
    labels = records[:, 0].astype(np.int32)
    planes = records[:, 1:].reshape(-1, 3, SIDE, SIDE)
    names = tuple(f"{name.removesuffix('.bin')}/{n:05d}" for name in files for n in range(RECORDS))

    def pixels(index: int, geometry: Geometry) -> np.ndarray:
        return geometry.apply(Image.fromarray(planes[index].transpose(1, 2, 0)))

    return Examples(names, labels, pixels, hashlib.sha256(records.tobytes()).hexdigest())


def _read(path: Path) -> np.ndarray:
    expected = RECORDS * RECORD_BYTES
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): download it again") from error
    if data.size != expected:
        raise UserError(
            f"{path} has {data.size:,} bytes instead of {expected:,}: download it again"
        )
    return data.reshape(RECORDS, RECORD_BYTES)
