"""Flowers-17, from a small archive of the real form served on localhost."""

import hashlib
import io
import tarfile

import numpy as np
import pytest
from PIL import Image
from test_tfds import served

from jaxvit.config import DataConfig
from jaxvit.data import flowers17
from jaxvit.data.datasets import find_source
from jaxvit.data.flowers17 import CLASSES, load_flowers17
from jaxvit.data.preprocessing import Geometry
from jaxvit.errors import UserError

PER_CLASS = 10
NAMES = [f"image_{number:04d}.jpg" for number in range(1, 17 * PER_CLASS + 1)]


def photo(number: int) -> bytes:
    """A plain grey of the number's brightness."""
    out = io.BytesIO()
    Image.new("RGB", (8, 6), (number, number, number)).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture
def archive(monkeypatch) -> bytes:
    """The archive; the module expects its hash and its number of photos."""
    files = {name: photo(number) for number, name in enumerate(NAMES)}
    files["files.txt"] = ("\n".join(NAMES) + "\n").encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"jpg/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    md5 = hashlib.md5(out.getvalue()).hexdigest()
    monkeypatch.setattr(flowers17, "PER_CLASS", PER_CLASS)
    monkeypatch.setattr(flowers17, "ARCHIVE", flowers17.ARCHIVE._replace(md5=md5))
    return out.getvalue()


def check(source) -> None:
    assert source.class_names == CLASSES
    train, test = source.splits["train"], source.splits["test"]
    assert np.array_equal(np.bincount(train.labels), [PER_CLASS - 1] * 17)
    assert np.array_equal(np.bincount(test.labels), [1] * 17)
    names = [*train.names, *test.names]
    assert sorted(names) == [f"jpg/{name}" for name in NAMES]
    for examples in (train, test):
        for row in (0, len(examples.labels) - 1):
            number = NAMES.index(examples.names[row].removeprefix("jpg/"))
            assert examples.labels[row] == number // PER_CLASS
            assert abs(int(examples.pixels(row, Geometry(4))[0, 0, 0]) - number) <= 1


def test_an_empty_directory_gets_the_archive(archive, tmp_path, monkeypatch):
    site, home = tmp_path / "site", tmp_path / "home"
    site.mkdir()
    (site / "17flowers.tgz").write_bytes(archive)
    with served(site) as url:
        there = flowers17.ARCHIVE._replace(url=f"{url}/17flowers.tgz")
        monkeypatch.setattr(flowers17, "ARCHIVE", there)
        check(load_flowers17(home, 0))
    (home / "17flowers.tgz").unlink()
    config = DataConfig(name="flowers17", dir=str(home))
    check(find_source(config))  # from then on without a server or the archive


def test_photos_are_rotated_by_their_orientation_if_that_is_asked_for(archive, tmp_path):
    (tmp_path / "17flowers.tgz").write_bytes(archive)
    load_flowers17(tmp_path, 0)
    halves = Image.fromarray(np.repeat(np.uint8([[0, 255]]), 8, axis=1).repeat(16, axis=0))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated by 90 degrees clockwise: left is then above
    for name in NAMES:
        halves.save(tmp_path / "jpg" / name, exif=exif)
    for upright, across in ((True, 0), (False, 1)):
        train = load_flowers17(tmp_path, 0, upright).splits["train"]
        pixels = train.pixels(0, Geometry(16))[..., 0].astype(int)
        first, last = np.split(pixels, 2, axis=across)
        assert last.mean() - first.mean() > 200


def test_another_seed_tests_other_photos(archive, tmp_path):
    (tmp_path / "17flowers.tgz").write_bytes(archive)
    config = DataConfig(name="flowers17", dir=str(tmp_path))
    tested = [
        find_source(each).splits["test"].names
        for each in (config, DataConfig(name="flowers17", dir=str(tmp_path), split_seed=1))
    ]
    assert tested[0] == find_source(config).splits["test"].names
    assert tested[0] != tested[1]


def test_the_official_numbers():
    assert len(CLASSES) * flowers17.PER_CLASS == 1360
    assert flowers17.ARCHIVE.url.endswith("/flowers/17/17flowers.tgz")
    assert len(flowers17.ARCHIVE.md5) == 32


def test_without_a_directory_it_says_what_to_give():
    with pytest.raises(UserError, match=r"needs --data.dir DIR.*empty one gets the official"):
        find_source(DataConfig(name="flowers17"))


def test_a_short_list_is_refused(archive, tmp_path):
    (tmp_path / "17flowers.tgz").write_bytes(archive)
    load_flowers17(tmp_path, 0)
    listed = tmp_path / "jpg" / "files.txt"
    listed.write_text("\n".join([*NAMES[:-1], NAMES[0]]))
    with pytest.raises(UserError, match=r"lists 170 photos \(169 different\)"):
        load_flowers17(tmp_path, 0)


def test_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    with pytest.raises(UserError, match="holds no Flowers-17 .* add --data.name folder"):
        load_flowers17(tmp_path, 0)
