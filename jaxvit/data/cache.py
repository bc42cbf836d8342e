"""A cache on disk: each image is decoded once and memory-mapped afterwards."""

import hashlib
import json
import os
import shutil
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from filelock import FileLock
from PIL import Image

from jaxvit.cleanup import removed_on_exit
from jaxvit.data.examples import Examples
from jaxvit.data.preprocessing import Geometry
from jaxvit.errors import UnreadableImage, UserError

FORMAT = 3  # to be increased whenever the same source would give other bytes

# Wraps an iterable of known length to show its progress: (items, length, what) -> items.
Track = Callable[[Iterable, int, str], Iterable]


def no_tracking(items: Iterable, length: int, what: str) -> Iterable:
    """A Track that shows nothing."""
    return items


class Decoded(NamedTuple):
    """A source's images at one size.

    Attributes:
      pixels: uint8 (N, S, S, C), memory-mapped and read-only; 0 where an image is unreadable.
      unreadable: row -> reason, for each unreadable image.
      crc32: uint32 (N,), of each image's pixels as they were decoded; 0 where it is unreadable.
    """

    pixels: np.ndarray
    unreadable: dict[int, str]
    crc32: np.ndarray


def load_pixels(
    examples: Examples,
    geometry: Geometry,
    channels: int,
    cache_dir: Path,
    threads: int = 0,
    track: Track = no_tracking,
    on_error: Literal["stop", "skip"] = "stop",
) -> Decoded:
    """All images of a source at one size.

    The first call decodes them and writes a cache directory. Later calls memory-map its files, also
    where cache_dir is read-only, and compare every image with its CRC-32. The directory's name is a
    hash of the source's fingerprint, the geometry and the channels. It gets this name only once it
    is complete, so a run that is stopped while decoding leaves no cache that looks complete. A
    cache that is truncated or has another shape or other bytes is decoded again. Of several
    processes, one decodes and the others wait for it.

    Args:
      examples: what to decode.
      geometry: of the images; S is its size.
      channels: C, 3, or 1 for grey sources.
      cache_dir: created if missing.
      threads: number that decode, in parallel because Pillow releases the GIL; 0 means one a core.
      track: shows progress.
      on_error: "stop" raises at an unreadable image, "skip" records it in `unreadable`.

    Raises:
      UserError: an image cannot be read and on_error is "stop", or the cache cannot be written.
    """
    key = f"{FORMAT} {tuple(geometry)} {channels} {examples.fingerprint}"
    path = cache_dir / hashlib.sha256(key.encode()).hexdigest()[:32]
    shape = (len(examples.labels), geometry.size, geometry.size, channels)
    if on_error == "stop":
        _refuse(examples.unreadable)
    cached = _open(path, shape)
    if cached is None:
        try:
            cache_dir.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):
                cached = _open(path, shape)  # another process may have written it
                if cached is None:
                    with removed_on_exit(path.with_suffix(".partial")):
                        _write(path, shape, examples, geometry, threads, track, on_error)
                    cached = _open(path, shape)
        except OSError as error:
            raise UserError(
                f"the cache {path} ({np.prod(shape) / 1e6:,.0f} MB) cannot be written "
                f"({error.strerror or error}): choose another place with --data.cache-dir DIR"
            ) from error
    if on_error == "stop":
        _refuse(cached.unreadable)
    return cached


def _refuse(unreadable: Mapping[int, str]) -> None:
    """Raises UserError for the first unreadable row, if there is one."""
    if unreadable:
        reason = unreadable[min(unreadable)]
        raise UserError(f"{reason}, or leave such images out with --data.on-error skip")


def _open(path: Path, shape: tuple[int, ...]) -> Decoded | None:
    """The cached images, or None where the cache is missing or damaged."""
    try:
        pixels = np.load(path / "pixels.npy", mmap_mode="r", allow_pickle=False)
        reasons = json.loads((path / "unreadable.json").read_text())
        unreadable = {int(row): str(reason) for row, reason in reasons.items()}
        crc32 = np.load(path / "crc32.npy", allow_pickle=False)
        whole = pixels.shape == shape and pixels.dtype == np.uint8
        whole = whole and crc32.shape == shape[:1] and crc32.dtype == np.uint32
    except Exception:  # a parser may raise anything on damaged bytes
        return None
    decoded = Decoded(pixels, unreadable, crc32)
    return decoded if whole and _unchanged(decoded) else None


def _unchanged(decoded: Decoded) -> bool:
    """Whether every image has the CRC-32 that it had when it was decoded."""

    def same(row: int) -> bool:
        found = zlib.crc32(decoded.pixels[row])
        return row in decoded.unreadable or found == int(decoded.crc32[row])

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # zlib releases the GIL
        return all(pool.map(same, range(len(decoded.pixels)), chunksize=64))


def _write(
    path: Path,
    shape: tuple[int, ...],
    examples: Examples,
    geometry: Geometry,
    threads: int,
    track: Track,
    on_error: str,
) -> None:
    partial = path.with_suffix(".partial")  # written by no other process: the caller holds the lock
    unreadable = dict(examples.unreadable)
    crc32 = np.zeros(shape[0], np.uint32)
    _remove(partial)  # a process that was killed may have left it
    try:
        partial.mkdir()
        pixels = np.lib.format.open_memmap(
            partial / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape
        )
        _reserve(partial / "pixels.npy")

        def decode(row: int) -> None:
            if row in examples.unreadable:
                return
            try:
                image = examples.pixels(row, geometry)
            except UnreadableImage as error:
                if on_error == "stop":
                    _refuse({row: str(error)})
                unreadable[row] = str(error)
            else:
                pixels[row], crc32[row] = image, zlib.crc32(image.tobytes())

        with warnings.catch_warnings(), ThreadPoolExecutor(threads or os.cpu_count()) as pool:
            # Pillow's warnings are suppressed: images.PixelBudget bounds large images, transparency
            # is dropped on purpose, and damaged metadata leaves the pixels readable.
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            try:
                for _ in track(pool.map(decode, range(shape[0])), shape[0], "decoding images"):
                    pass
            except BaseException:
                pool.shutdown(cancel_futures=True)  # after an error, do not decode the rest
                raise
        pixels.flush()
        del pixels
        np.save(partial / "crc32.npy", crc32)
        (partial / "unreadable.json").write_text(json.dumps(unreadable))
        _remove(path)  # a cache that is there is damaged
        partial.rename(path)
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _reserve(path: Path) -> None:
    """Allocates the file's blocks, so that a full disk raises OSError here.

    Otherwise a write to the memory map would end the process with SIGBUS.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
