"""Image files given by a person: found in folders, and decoded by threads ahead of their use."""

import os
import stat
import warnings
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxvit.data.folder import SUFFIXES, images_in
from jaxvit.data.images import decode_image
from jaxvit.data.preprocessing import Geometry
from jaxvit.errors import UnreadableImage, UserError
from jaxvit.paths import legible

AHEAD = 64  # images that are decoded before they are asked for; 10 MB at 224 pixels


class Found(NamedTuple):
    """Files in the order in which they were asked for.

    Attributes:
      files: the files; one that was given twice is there twice.
      passed_over: suffix -> number of files with it, such as ".heic": image formats that are not
        decoded here.
    """

    files: tuple[Path, ...]
    passed_over: Counter[str]


def find_photos(paths: Iterable[str | Path]) -> Found:
    """The files that are given, and those in the folders that are given.

    A folder gives its images at any depth, sorted by path, as jaxvit.data.folder finds them. A file
    is taken whatever its suffix, and need not exist: that is noticed when it is decoded.

    Raises:
      UserError: a folder holds no image, or cannot be listed.
    """
    files: list[Path] = []
    passed_over: Counter[str] = Counter()
    for path in map(Path, paths):
        if not path.is_dir():
            files.append(path)
            continue
        inside, others = photos_in(path)
        if not inside:
            raise UserError(
                f"{legible(path)} holds no image ({', '.join(sorted(SUFFIXES))}): give a folder "
                "with images, or image files"
            )
        files += inside
        passed_over += others
    return Found(tuple(files), passed_over)


def photos_in(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The images below a folder, sorted by path, and the suffixes of those that are passed over."""
    files = sorted(images_in(folder))
    readable = [path for path in files if path.suffix.lower() in SUFFIXES]
    others = Counter(p.suffix.lower() for p in files if p.suffix.lower() not in SUFFIXES)
    return readable, others


def read_photo(path: Path, geometry: Geometry, channels: int, upright: bool) -> np.ndarray:
    """One file, decoded: see decode_image.

    Raises:
      UnreadableImage: it is missing, no regular file, closed to us, or no image.
    """
    name = legible(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would block
            raise UnreadableImage(f"{name} cannot be read (not a file): give image files")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise UnreadableImage(f"{name} cannot be read ({reason}): check the path") from error
    return decode_image(data, geometry, name, channels, upright)


def decode_photos(
    paths: Sequence[Path], geometry: Geometry, channels: int, upright: bool, threads: int = 0
) -> Iterator[np.ndarray | UnreadableImage]:
    """Each file, decoded, in order; at most AHEAD are decoded before they are asked for.

    Args:
      paths: of the files.
      geometry, channels, upright: see decode_image.
      threads: number that decode, in parallel because Pillow releases the GIL; 0 means one a core.

    Yields:
      uint8 (size, size, channels), or the error where a file cannot be read.
    """

    def decode(path: Path) -> np.ndarray | UnreadableImage:
        try:
            return read_photo(path, geometry, channels, upright)
        except UnreadableImage as error:
            return error

    left = iter(paths)
    with warnings.catch_warnings(), ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        # As in jaxvit.data.cache: large images are bounded, and damaged metadata harms no pixels.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        waiting = deque(pool.submit(decode, path) for path in islice(left, AHEAD))
        try:
            while waiting:
                image = waiting.popleft().result()
                waiting.extend(pool.submit(decode, path) for path in islice(left, 1))
                yield image
        finally:
            pool.shutdown(cancel_futures=True)
