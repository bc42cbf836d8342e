"""The cache of decoded images: written once, memory-mapped, and written again if damaged."""

import errno
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from jaxvit.data.cache import load_pixels
from jaxvit.data.examples import Examples
from jaxvit.data.preprocessing import Geometry
from jaxvit.errors import UserError


def counting_examples(calls: list, fingerprint="one") -> Examples:
    def pixels(index, geometry):
        calls.append(index)
        return np.full((geometry.size, geometry.size, 3), index, np.uint8)

    return Examples(tuple("abcde"), np.zeros(5, np.int32), pixels, fingerprint)


def test_each_image_is_decoded_once_and_mapped_afterwards(tmp_path):
    calls = []
    first = load_pixels(counting_examples(calls), Geometry(4), 3, tmp_path).pixels
    second = load_pixels(counting_examples(calls), Geometry(4), 3, tmp_path).pixels
    assert sorted(calls) == [0, 1, 2, 3, 4]
    assert isinstance(second, np.memmap)
    assert not second.flags.writeable
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[:, 0, 0, 0], np.arange(5))


def test_each_size_and_each_source_has_its_own_cache(tmp_path):
    calls = []
    load_pixels(counting_examples(calls), Geometry(4), 3, tmp_path)
    load_pixels(counting_examples(calls), Geometry(5), 3, tmp_path)
    load_pixels(counting_examples(calls, "two"), Geometry(4), 3, tmp_path)
    assert len(calls) == 15
    assert len(list(tmp_path.glob("*/pixels.npy"))) == 3


def test_each_way_of_resizing_has_its_own_cache(tmp_path):
    calls = []
    for geometry in (
        Geometry(4),
        Geometry(4, resize="short_side"),
        Geometry(4, crop_share=0.5),
        Geometry(4, interpolation="nearest"),
    ):
        load_pixels(counting_examples(calls), geometry, 3, tmp_path)
    assert len(calls) == 20


def test_an_error_while_decoding_leaves_no_cache(tmp_path):
    def pixels(index, geometry):
        raise UserError("bad image")

    with pytest.raises(UserError, match="bad image"):
        load_pixels(Examples(("a",), np.zeros(1, np.int32), pixels, ""), Geometry(4), 3, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a cache was unpickled",))


@pytest.mark.parametrize("file", ["pixels.npy", "unreadable.json", "crc32.npy"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"rubbish"),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.unlink(),
        lambda path: np.lib.format.open_memmap(path, "w+", np.uint8, (5, 3, 3, 3)),  # too small
        lambda path: path.write_bytes(pickle.dumps(Bomb())),
    ],
)
def test_a_damaged_cache_is_decoded_again(tmp_path, file, damage):
    calls = []
    first = np.array(load_pixels(counting_examples(calls), Geometry(4), 3, tmp_path).pixels)
    (entry,) = (path for path in tmp_path.iterdir() if path.is_dir())
    damage(entry / file)
    again = load_pixels(counting_examples(calls), Geometry(4), 3, tmp_path)
    np.testing.assert_array_equal(again.pixels, first)
    assert len(calls) == 10


def test_the_same_bytes_in_another_shape_are_decoded_again(tmp_path):
    calls = []
    first = np.array(load_pixels(counting_examples(calls), Geometry(4), 3, tmp_path).pixels)
    (entry,) = (path for path in tmp_path.iterdir() if path.is_dir())
    np.save(entry / "pixels.npy", first.reshape(len(first), 2, 8, 3))
    again = load_pixels(counting_examples(calls), Geometry(4), 3, tmp_path)
    np.testing.assert_array_equal(again.pixels, first)
    assert len(calls) == 10


def test_a_partial_cache_of_a_killed_process_is_not_used(tmp_path):
    calls = []
    load_pixels(counting_examples(calls), Geometry(4), 3, tmp_path)
    (entry,) = (path for path in tmp_path.iterdir() if path.is_dir())
    entry.rename(entry.with_suffix(".partial"))
    load_pixels(counting_examples(calls), Geometry(4), 3, tmp_path)
    assert len(calls) == 10
    assert not entry.with_suffix(".partial").exists()


def test_the_cache_of_another_version_is_not_used(tmp_path, monkeypatch):
    calls = []
    load_pixels(counting_examples(calls), Geometry(4), 3, tmp_path)
    monkeypatch.setattr("jaxvit.data.cache.FORMAT", 999)
    load_pixels(counting_examples(calls), Geometry(4), 3, tmp_path)
    assert len(calls) == 10


def test_a_cache_is_read_from_a_read_only_disk(tmp_path, monkeypatch):
    """The error is simulated, because root can write to every directory."""
    calls = []
    load_pixels(counting_examples(calls), Geometry(4), 3, tmp_path)

    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr("jaxvit.data.cache.FileLock", refuse)
    load_pixels(counting_examples(calls), Geometry(4), 3, tmp_path)
    assert len(calls) == 5
    with pytest.raises(UserError, match=r"\(Read-only file system\): choose another place with"):
        load_pixels(counting_examples(calls, "two"), Geometry(4), 3, tmp_path)


def test_two_concurrent_loads_decode_each_image_once(tmp_path):
    calls = []
    with ThreadPoolExecutor(2) as pool:
        list(
            pool.map(
                lambda _: load_pixels(counting_examples(calls), Geometry(4), 3, tmp_path), range(2)
            )
        )
    assert len(calls) == 5


def test_a_cache_that_cannot_be_written_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot be written .*: choose another place with"):
        load_pixels(counting_examples([]), Geometry(4), 3, tmp_path / "file" / "cache")


def test_a_cache_with_a_changed_byte_is_decoded_again(tmp_path):
    calls = []
    first = np.array(load_pixels(counting_examples(calls), Geometry(4), 3, tmp_path).pixels)
    (path,) = tmp_path.glob("*/pixels.npy")
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(bytes(data))
    again = load_pixels(counting_examples(calls), Geometry(4), 3, tmp_path)
    np.testing.assert_array_equal(again.pixels, first)
    assert len(calls) == 10


def test_grey_and_colour_have_caches_of_their_own(tmp_path):
    for channels in (1, 3):
        examples = counting_examples([])._replace(
            pixels=lambda index, g, c=channels: np.zeros((g.size, g.size, c), np.uint8)
        )
        load_pixels(examples, Geometry(4), channels, tmp_path)
    assert len(list(tmp_path.glob("*/pixels.npy"))) == 2


def test_as_many_threads_decode_as_asked(tmp_path):
    at_once, seen = threading.Barrier(3), set()

    def pixels(index, geometry):
        at_once.wait(timeout=9)  # needs three threads
        seen.add(threading.get_ident())
        return np.zeros((geometry.size, geometry.size, 3), np.uint8)

    examples = Examples(tuple("abcdef"), np.zeros(6, np.int32), pixels, "three")
    load_pixels(examples, Geometry(4), 3, tmp_path, threads=3)
    assert len(seen) == 3
