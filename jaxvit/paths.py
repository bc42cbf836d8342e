"""The directories that a user names."""

from pathlib import Path

from jaxvit.config import UserError


def user_path(option: str, value: str) -> Path:
    """The path, with ~ written out, in a state to be asked about.

    Raises:
      UserError: ~ names nobody, or the system refuses to look there.
    """
    try:
        path = Path(value).expanduser()
        if path.is_dir():
            next(path.iterdir(), None)
        else:
            path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--{option} {value[:200]} cannot be used ({reason})") from error
    return path
