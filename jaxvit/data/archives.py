"""The official archive of a data set: downloaded, checked, and unpacked whole or not at all."""

import hashlib
import shutil
import tarfile
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

from filelock import FileLock

from jaxvit.cleanup import removed_on_exit, whole_file
from jaxvit.errors import UserError


class Archive(NamedTuple):
    """An archive as its authors publish it.

    Attributes:
      title: of the data set, for messages.
      url: of the archive; it keeps the name that it has there.
      md5: in hexadecimal.
      folder: what it holds.
    """

    title: str
    url: str
    md5: str
    folder: str

    @property
    def file(self) -> str:
        """Its name on disk."""
        return self.url.rpartition("/")[2]


def fetch(archive: Archive, directory: Path) -> Path:
    """directory / archive.folder, out of the archive there, which is downloaded where it is not.

    Raises:
      UserError: the directory holds something else, or the archive cannot be downloaded, has
        another hash, or cannot be unpacked.
    """
    if not (directory / archive.file).is_file():
        if directory.exists() and not _is_empty(directory):
            raise UserError(
                f"--data.dir {directory} holds no {archive.title} ({archive.folder}/ or "
                f"{archive.file}): give an empty directory to download it there, or add "
                "--data.name folder for one folder of images for each class"
            )
        _download(archive, directory)
    _unpack(archive, directory)
    return directory / archive.folder


def _is_empty(directory: Path) -> bool:
    """Whether it is a directory that holds nothing but hidden files, such as our own locks."""
    return directory.is_dir() and all(path.name.startswith(".") for path in directory.iterdir())


def _download(archive: Archive, directory: Path) -> None:
    path = directory / archive.file
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / f".{path.name}.lock"), whole_file(path) as partial:
            with urlopen(archive.url, timeout=60) as answer, partial.open("wb") as file:
                shutil.copyfileobj(answer, file)
            _check(archive, partial, path)
    except OSError as error:
        raise UserError(
            f"{archive.url} cannot be downloaded to {directory} ({error}): download it yourself, "
            "and give its directory with --data.dir"
        ) from error


def _check(archive: Archive, file: Path, name: Path) -> None:
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "md5").hexdigest()
    if found != archive.md5:
        raise UserError(
            f"{name} has the MD5 {found}, and {archive.title} {archive.md5}: download it again"
        )


def _unpack(archive: Archive, directory: Path) -> None:
    path, staging = directory / archive.file, directory / f".{archive.folder}.partial"
    _check(archive, path, path)
    with FileLock(directory / f".{path.name}.lock"):
        if (directory / archive.folder).is_dir():  # by another process, while this one waited
            return
        shutil.rmtree(staging, ignore_errors=True)
        try:
            with removed_on_exit(staging), tarfile.open(path) as tar:
                tar.extractall(staging, filter="data")
                (staging / archive.folder).rename(directory / archive.folder)
        except (OSError, tarfile.TarError) as error:
            raise UserError(f"{path} cannot be unpacked ({error}): download it again") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
