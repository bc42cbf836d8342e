"""Images that lie in files."""

import hashlib
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
        digest.update(f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())

    def pixels(index: int, img_size: int) -> np.ndarray:
        try:
            data = paths[index].read_bytes()
        except OSError as error:
            raise _unreadable(paths[index], error) from error
        return decode_image(data, img_size, str(paths[index]))

    return Examples(
        names=tuple(path.relative_to(root).as_posix() for path in paths),
        labels=np.asarray(labels, np.int32),
        pixels=pixels,
        fingerprint=digest.hexdigest(),
    )


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(
        f"{path} is listed but cannot be read ({error.strerror}): restore it, or take it off the "
        "list"
    )
