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

    The fingerprint covers every path, size and time of change.

    Raises:
      UserError: a file is missing.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            stat = path.stat()
        except OSError as error:
            raise _unreadable(path, error) from error
        digest.update(os.fsencode(path.resolve()))
        digest.update(f"\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())

    def pixels(index: int, img_size: int) -> np.ndarray:
        try:
            data = paths[index].read_bytes()
        except OSError as error:
            raise _unreadable(paths[index], error) from error
        return decode_image(data, img_size, str(paths[index]))

    return Examples(
        names=tuple(_name(path.relative_to(root)) for path in paths),
        labels=np.asarray(labels, np.int32),
        pixels=pixels,
        fingerprint=digest.hexdigest(),
    )


def _name(path: Path) -> str:
    # A name that is not UTF-8 is legal on disk and nowhere else.
    return os.fsencode(path.as_posix()).decode(errors="backslashreplace")


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(
        f"{path} is listed but cannot be read ({error.strerror}): restore it, or take it off the "
        "list"
    )
