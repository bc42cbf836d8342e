"""Oxford Flowers-17: 1,360 photos of 17 kinds of flowers, 80 of each.

Source: Nilsback and Zisserman 2006, "A Visual Vocabulary for Flower Classification". The archive
holds jpg/image_0001.jpg to image_1360.jpg, and files.txt, which lists them class by class. Its
authors' three splits are a file of their own, which is not read: the split here is drawn.
"""

from pathlib import Path

import numpy as np

from jaxvit.data.archives import Archive, fetch
from jaxvit.data.examples import Examples, Source
from jaxvit.data.files import examples_from_files
from jaxvit.data.splits import stratified_split
from jaxvit.errors import UserError

ARCHIVE = Archive(
    title="Flowers-17",
    url="https://www.robots.ox.ac.uk/~vgg/data/flowers/17/17flowers.tgz",
    md5="b59a65d8d1a99cd66944d474e1289eab",
    folder="jpg",
)
LIST = "files.txt"
CLASSES = (
    "Daffodil", "Snowdrop", "Lily Valley", "Bluebell", "Crocus", "Iris", "Tigerlily", "Tulip",
    "Fritillary", "Sunflower", "Daisy", "Colts' Foot", "Dandelion", "Cowslip", "Buttercup",
    "Windflower", "Pansy",
)  # fmt: skip
PER_CLASS = 80
TEST_FRACTION = 0.1  # of each class: 1,224 photos and 136


def load_flowers17(directory: Path | None, split_seed: int, upright: bool = False) -> Source:
    """The photos, of which a tenth of each class is drawn for the test.

    Args:
      directory: holds jpg/, or the archive; or is empty or missing: the archive is downloaded
        there and checked.
      split_seed: of the split; with another seed other photos are tested.
      upright: whether photos are rotated by their EXIF orientation.

    Returns:
      A source with the splits "train" and "test".

    Raises:
      UserError: no directory is given, it holds something else, files.txt does not list 1,360
        photos, or the archive cannot be downloaded.

    Torch twin: torch_ref/instance_discrimination/flowers17.py.
    """
    if directory is None:
        raise UserError(
            f"--data.name flowers17 needs --data.dir DIR, which holds {ARCHIVE.folder}/; an empty "
            "one gets the official archive"
        )
    folder = directory / ARCHIVE.folder
    if not (folder / LIST).is_file():
        folder = fetch(ARCHIVE, directory)
    paths = [folder / name for name in _names(folder / LIST)]
    labels = np.arange(len(paths)) // PER_CLASS
    names = [path.name for path in paths]
    kept, held_out = stratified_split(labels, names, TEST_FRACTION, split_seed)

    def examples(rows: np.ndarray) -> Examples:
        chosen = [paths[row] for row in rows]
        return examples_from_files(directory, chosen, labels[rows].tolist(), upright)

    return Source(
        CLASSES,
        {"train": examples(kept), "test": examples(held_out)},
    )


def _names(path: Path) -> list[str]:
    try:
        names = path.read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): unpack the archive again") from error
    expected = len(CLASSES) * PER_CLASS
    if len(set(names)) != expected or len(names) != expected or any("/" in each for each in names):
        raise UserError(
            f"{path} lists {len(names)} photos ({len(set(names))} different), and Flowers-17 has "
            f"{expected:,}: unpack the archive again"
        )
    return names
