"""Images that lie in files."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxvit.config import UserError
from jaxvit.data.examples import Examples
from jaxvit.data.images import decode_image


def examples_from_files(root: Path, paths: Sequence[Path], labels: Sequence[int]) -> Examples:
    """One example a file; named by its path below root.

    The fingerprint covers every path, size and time of change. A file that is missing is
    unreadable; one that is there and cannot be opened stops the run.
    """
    digest = hashlib.sha256()
    unreadable = {}
    for row, path in enumerate(paths):
        digest.update(os.fsencode(path.resolve()))
        try:
            stat = path.stat()
        except OSError as error:
            unreadable[row] = _reason(path, error)
            digest.update(b"\0missing\n")
        else:
            digest.update(f"\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())

    def pixels(index: int, img_size: int) -> np.ndarray:
        try:
            data = paths[index].read_bytes()
        except OSError as error:
            # It may be readable tomorrow: nothing to be left out and remembered.
            raise UserError(_reason(paths[index], error)) from error
        return decode_image(data, img_size, str(paths[index]))

    return Examples(
        names=tuple(_name(path.relative_to(root)) for path in paths),
        labels=np.asarray(labels, np.int32),
        pixels=pixels,
        fingerprint=digest.hexdigest(),
        unreadable=unreadable,
    )


def _name(path: Path) -> str:
    # A name that is not UTF-8 is legal on disk and nowhere else.
    return os.fsencode(path.as_posix()).decode(errors="backslashreplace")


def _reason(path: Path, error: OSError) -> str:
    return (
        f"{path} is listed but cannot be read ({error.strerror}): restore it, or take its name off "
        "the list"
    )
