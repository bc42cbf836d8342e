"""stdout and stderr, made to take any text."""

import os
import sys


def take_any_text() -> None:
    """What the encoding of a stream has not is written as escapes; a closed stream takes all.

    Otherwise a class called "café" would end a command where the locale is POSIX.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed, as by >&-
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for the whole process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
