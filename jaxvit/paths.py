"""Names of files and directories that come from the user."""

import os
from pathlib import Path

from jaxvit.errors import UserError


def user_path(option: str, value: str) -> Path:
    """The path with ~ expanded, checked to be accessible; it need not exist.

    Args:
      option: without dashes, for the message; in capitals where it has none, such as "DST".
      value: of the option.

    Raises:
      UserError: the user after ~ does not exist, the name is not UTF-8, or the system denies
        access.
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
        name = option if option.isupper() else f"--{option}"
        raise UserError(f"{name} {legible(value)[:200]} cannot be used ({reason})") from error
    return path


def check_writable(option: str, path: Path) -> None:
    """Checks, before the work begins, that something can be made at a path.

    Raises:
      UserError: the nearest directory that is there is a file, or cannot be written to.
    """
    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise UserError(f"--{option} {path} cannot be written: choose another place")


def one_line(text: str) -> str:
    """The text with line breaks and other control characters, as in odd file names, escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def legible(name: str | Path) -> str:
    """A file's name as text, with bytes that are not UTF-8 written as backslash escapes."""
    return os.fsencode(name).decode(errors="backslashreplace")
