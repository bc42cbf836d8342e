"""Stopping politely: a signal finishes the step, a second one does not wait."""

import os
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """Training stopped at a signal, with its state saved.

    Attributes:
      exit_code: 128 plus the signal's number, as shells report it: 130 or 143.
    """

    def __init__(self, message: str, signum: int):
        super().__init__(message)
        self.exit_code = 128 + signum


class StopSignals:
    """While entered, remembers the first SIGINT or SIGTERM, and exits at the second.

    Attributes:
      received: the signal's number, or None.
    """

    def __init__(self):
        self.received: int | None = None

    def __enter__(self) -> "StopSignals":
        self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
