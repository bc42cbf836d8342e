"""Each image decoded once, memory-mapped afterwards."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from jaxvit.config import UserError
from jaxvit.data.examples import Examples

FORMAT = 1  # raised whenever the same source would give other bytes

# Wraps an iterable of known length to show how far it is: (items, length, what) -> items.
Track = Callable[[Iterable, int, str], Iterable]


def no_tracking(items: Iterable, length: int, what: str) -> Iterable:
    return items


def load_pixels(
    examples: Examples,
    img_size: int,
    channels: int,
    cache_dir: Path,
    threads: int = 0,
    track: Track = no_tracking,
) -> np.ndarray:
    """All images at one size, uint8 (N, img_size, img_size, channels), read-only.

    The first call decodes with all cores and writes one .npy file; later ones only map it. Its
    name is a hash of the source's fingerprint and the size, and it appears under that name only
    when it is whole, so a run that was stopped half-way leaves nothing that a later one could
    mistake for it. A file that cannot be read or has another shape is made anew.

    Args:
      examples: what to decode.
      img_size: pixels.
      channels: 3, or 1 for grey sources.
      cache_dir: made if missing.
      threads: that decode; 0 means one a core. Pillow works outside Python's lock.
      track: shows progress.

    Raises:
      UserError: an image cannot be read, or the cache cannot be written.
    """
    key = f"{FORMAT} {img_size} {channels} {examples.fingerprint}"
    path = cache_dir / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    shape = (len(examples.labels), img_size, img_size, channels)
    cached = _open(path, shape)
    if cached is not None:
        return cached

    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        pixels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        _reserve(partial)

        def decode(index: int) -> None:
            pixels[index] = examples.pixels(index, img_size)

        with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
            try:
                for _ in track(pool.map(decode, range(shape[0])), shape[0], "decoding images"):
                    pass
            except BaseException:
                pool.shutdown(cancel_futures=True)  # one bad image: do not decode the rest
                raise
        pixels.flush()
        del pixels
        os.replace(partial, path)
    except OSError as error:
        raise UserError(
            f"the cache {path} ({np.prod(shape) / 1e6:,.0f} MB) cannot be written "
            f"({error.strerror or error}): choose another place with --data.cache-dir DIR"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    return np.load(path, mmap_mode="r")


def _open(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The mapped file, or None where it is missing or damaged: then it is made anew."""
    try:
        cached = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return cached if cached.shape == shape and cached.dtype == np.uint8 else None


def _reserve(path: Path) -> None:
    """Makes a full disk an error now: later, writing to the map would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
