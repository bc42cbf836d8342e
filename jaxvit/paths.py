"""The names of files and directories that a user gives."""

import os
from pathlib import Path

from jaxvit.errors import UserError


def user_path(option: str, value: str) -> Path:
    """The path, with ~ written out, in a state to be asked about.

    Raises:
      UserError: ~ names nobody, the name is not UTF-8, or the system refuses to look there.
    """
    try:
        if legible(value) != value:
            raise ValueError("its name is not UTF-8")
        path = Path(value).expanduser()
        if path.is_dir():
            next(path.iterdir(), None)
        else:
            path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--{option} {legible(value)[:200]} cannot be used ({reason})") from error
    return path


def legible(name: str | Path) -> str:
    """A file's name as text: what is not UTF-8 is legal on disk and nowhere else."""
    return os.fsencode(name).decode(errors="backslashreplace")
