"""Examples from image files."""

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxvit.data.examples import Examples
from jaxvit.data.images import decode_image
from jaxvit.data.preprocessing import Geometry
from jaxvit.errors import UserError
from jaxvit.paths import legible


def examples_from_files(
    root: Path,
    paths: Sequence[Path],
    labels: Sequence[int],
    upright: bool = False,
    channels: int = 3,
    seen: dict[Path, Path] | None = None,
) -> Examples:
    """One example for each file, named by its path relative to root.

    The fingerprint covers every path, size and time of change, and `upright`. A file that is
    missing or is no regular file is listed as unreadable. A file that exists but cannot be opened
    raises UserError when it is decoded.

    Args:
      root: the directory that names are relative to.
      paths: of the files, below root.
      labels: class indices, one for each path.
      upright: whether images are rotated by their EXIF orientation.
      channels: 3 for RGB, 1 for grey.
      seen: files to paths, of other splits; these are added.

    Raises:
      UserError: two of them, or one of them and one that was seen, are links to one file.
    """
    digest = hashlib.sha256(b"upright\n" if upright else b"")
    unreadable = {}
    first = {} if seen is None else seen
    for row, path in enumerate(paths):
        place = path.resolve()
        if (other := first.setdefault(place, path)) is not path:
            raise UserError(
                f"{legible(other)} and {legible(path)} are one file, which could then be trained "
                "on and tested: remove one of the links"
            )
        digest.update(os.fsencode(place))
        try:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):  # reading a pipe would block
                raise OSError(errno.EINVAL, "not a file")
        except OSError as error:
            unreadable[row] = _reason(path, error)
            digest.update(b"\0missing\n")
        else:
            digest.update(f"\0{found.st_size}\0{found.st_mtime_ns}\n".encode())

    def pixels(index: int, geometry: Geometry) -> np.ndarray:
        try:
            data = paths[index].read_bytes()
        except OSError as error:
            # A later run may be able to open it, so the cache must not record it as unreadable.
            raise UserError(_reason(paths[index], error)) from error
        return decode_image(data, geometry, legible(paths[index]), channels, upright)

    return Examples(
        names=tuple(legible(path.relative_to(root)) for path in paths),
        labels=np.asarray(labels, np.int32),
        pixels=pixels,
        fingerprint=digest.hexdigest(),
        unreadable=unreadable,
    )


def _reason(path: Path, error: OSError) -> str:
    return (
        f"{legible(path)} is listed but cannot be read ({error.strerror}): restore it, or "
        "remove it from the list"
    )
