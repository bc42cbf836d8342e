"""What is removed when a signal ends the process: files that are half written, and locks."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

_paths: set[Path] = set()


@contextlib.contextmanager
def removed_on_exit(path: Path) -> Iterator[None]:
    """While entered, a signal that ends the process removes this file or directory first."""
    _paths.add(path)
    try:
        yield
    finally:
        _paths.discard(path)


def remove_all() -> None:
    """Removes what is half written; to be called just before the process exits."""
    for path in list(_paths):
        with contextlib.suppress(OSError):
            if path.is_dir():
                # Out of the way first: another thread may be about to rename it.
                trash = path.rename(path.with_name(f"{path.name}.trash"))
                shutil.rmtree(trash)
            else:
                path.unlink()
