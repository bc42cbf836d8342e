"""Files that are there whole or not at all, and what is removed when a signal ends the process."""

import contextlib
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

_paths: set[Path] = set()
_in_order = threading.RLock()  # remove_all takes it for good


@contextlib.contextmanager
def removed_on_exit(path: Path) -> Iterator[None]:
    """While entered, a signal that ends the process removes this file or directory first."""
    _paths.add(path)
    try:
        yield
    finally:
        _paths.discard(path)


@contextlib.contextmanager
def removed_later() -> Iterator[None]:
    """While entered, a signal that ends the process waits with its removal; see remove_all.

    For what is short and must not be cut: making a directory that the removal would not see yet,
    or an exchange of two.
    """
    with _in_order:
        yield


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write to, which becomes `path` when the block ends without an error.

    A link stays, and the file that it points to is replaced. A device or a pipe, and what is below
    /dev or /proc, is written to as it is.

    Raises:
      OSError: it cannot be written; what was at `path` is still there.
    """
    special = path.exists() and not path.is_file()
    if special or path.absolute().parts[1:2] in (("dev",), ("proc",)):
        yield path
        return
    path = path.resolve()
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with removed_on_exit(partial):
            yield partial
            partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def staging_of(path: Path) -> Path:
    """A hidden name beside `path` that is nobody else's.

    In containers processes have equal numbers, and one that was killed leaves its directory behind.
    """
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")


@contextlib.contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """An empty directory to fill, which becomes `path` when the block ends without an error.

    Raises:
      OSError: it cannot be written, or something is at `path`.
    """
    staging = staging_of(path)
    with removed_on_exit(staging):
        try:
            with removed_later():
                staging.mkdir()
            yield staging
            staging.rename(path)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def remove_all() -> None:
    """Removes what is half written; to be called just before the process exits.

    From then on no other thread can enter removed_later.
    """
    _in_order.acquire()
    for path in list(_paths):
        with contextlib.suppress(OSError):
            if path.is_dir():
                # Out of the way first: another thread may be about to rename it.
                trash = path.rename(path.with_name(f"{path.name}.trash"))
                shutil.rmtree(trash)
            else:
                path.unlink()
