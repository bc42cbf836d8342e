"""CIFAR-10's binary version, from a small archive of the real form served on localhost."""

import hashlib
import io
import tarfile

import numpy as np
import pytest
from test_tfds import served

from jaxvit.config import DataConfig
from jaxvit.data import cifar10
from jaxvit.data.cifar10 import load_cifar10
from jaxvit.data.datasets import find_source
from jaxvit.data.preprocessing import Geometry
from jaxvit.errors import UserError

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORDS = 20


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    files = {cifar10.NAMES: ("\n".join(NAMES) + "\n\n").encode()}
    for name in (*cifar10.FILES["train"], *cifar10.FILES["test"]):
        records = rng.integers(0, 256, (RECORDS, cifar10.RECORD_BYTES), np.uint8)
        records[:, 0] = np.arange(RECORDS) % 10
        files[name] = records.tobytes()
    return files


@pytest.fixture
def archive(contents, monkeypatch) -> bytes:
    """The archive; the module expects its hash and its numbers of records."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in contents.items():
            info = tarfile.TarInfo(f"{cifar10.ARCHIVE.folder}/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    monkeypatch.setattr(cifar10, "RECORDS", RECORDS)
    md5 = hashlib.md5(out.getvalue()).hexdigest()
    monkeypatch.setattr(cifar10, "ARCHIVE", cifar10.ARCHIVE._replace(md5=md5))
    return out.getvalue()


def from_server(monkeypatch, url: str) -> None:
    monkeypatch.setattr(cifar10, "ARCHIVE", cifar10.ARCHIVE._replace(url=url))


def check(source, contents) -> None:
    assert source.class_names == NAMES
    assert len(source.splits["train"].labels) == 5 * RECORDS
    assert len(source.splits["test"].labels) == RECORDS
    train = source.splits["train"]
    assert train.names[RECORDS + 3] == "data_batch_2/00003"
    assert len(set(train.names)) == len(train.names)
    record = np.frombuffer(contents["data_batch_2.bin"], np.uint8).reshape(RECORDS, -1)[3]
    assert train.labels[RECORDS + 3] == record[0]
    found = train.pixels(RECORDS + 3, Geometry(32))
    assert found.shape == (32, 32, 3)
    for channel, row, column in ((0, 0, 0), (1, 5, 9), (2, 31, 30)):
        assert found[row, column, channel] == record[1 + channel * 1024 + row * 32 + column]
    assert train.pixels(0, Geometry(8)).shape == (8, 8, 3)


def test_an_empty_directory_gets_the_archive(archive, contents, tmp_path, monkeypatch):
    site, home = tmp_path / "site", tmp_path / "home"
    site.mkdir()
    (site / cifar10.ARCHIVE.file).write_bytes(archive)
    with served(site) as url:
        from_server(monkeypatch, f"{url}/{cifar10.ARCHIVE.file}")
        check(load_cifar10(home), contents)
    # From then on without a server; and the archive may go.
    check(load_cifar10(home), contents)
    (home / cifar10.ARCHIVE.file).unlink()
    check(load_cifar10(home), contents)
    check(load_cifar10(home / cifar10.ARCHIVE.folder), contents)


def test_a_given_archive_is_unpacked(archive, contents, tmp_path):
    (tmp_path / cifar10.ARCHIVE.file).write_bytes(archive)
    check(find_source(DataConfig(name="cifar10", dir=str(tmp_path))), contents)
    assert not list(tmp_path.glob(".*partial*"))


def test_a_damaged_archive_is_refused(archive, tmp_path):
    (tmp_path / cifar10.ARCHIVE.file).write_bytes(archive[:-10])
    with pytest.raises(UserError, match="has the MD5 .* download it again"):
        load_cifar10(tmp_path)
    assert not (tmp_path / cifar10.ARCHIVE.folder).exists()


def test_another_archive_on_the_server_is_refused_and_not_kept(archive, tmp_path, monkeypatch):
    site, home = tmp_path / "site", tmp_path / "home"
    site.mkdir()
    (site / cifar10.ARCHIVE.file).write_bytes(archive + b"x")
    with served(site) as url:
        from_server(monkeypatch, f"{url}/{cifar10.ARCHIVE.file}")
        with pytest.raises(UserError, match="has the MD5"):
            load_cifar10(home)
        assert not (home / cifar10.ARCHIVE.file).exists()
        from_server(monkeypatch, f"{url}/nothing/{cifar10.ARCHIVE.file}")
        with pytest.raises(UserError, match="cannot be downloaded .*404.* download it yourself"):
            load_cifar10(home)
    assert not (home / cifar10.ARCHIVE.file).exists()


def test_files_of_another_size_are_refused(archive, contents, tmp_path):
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    check(load_cifar10(tmp_path), contents)
    (tmp_path / "data_batch_4.bin").write_bytes(contents["data_batch_4.bin"][:-1])
    with pytest.raises(UserError, match="data_batch_4.bin has 61,459 bytes instead of 61,460"):
        load_cifar10(tmp_path)
    (tmp_path / "data_batch_4.bin").unlink()
    with pytest.raises(UserError, match="data_batch_4.bin cannot be read"):
        load_cifar10(tmp_path)


def test_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    with pytest.raises(UserError, match="holds no CIFAR-10 .* add --data.name folder"):
        load_cifar10(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="holds no CIFAR-10"):
        load_cifar10(tmp_path / "file")
