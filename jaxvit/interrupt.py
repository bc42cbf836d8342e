"""Stopping politely: a signal finishes the step, a second one does not wait."""

import os
import signal
from collections.abc import Callable

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

    Args:
      agree: a process's signal, or 0, to that of any process; all call it at the same steps.
      every_steps: how often to agree: with many processes it costs a wait.

    Attributes:
      agreed: the number of the signal to stop for, or 0; the same in every process.
    """

    def __init__(self, agree: Callable[[int], int] = int, every_steps: int = 1):
        self._agree = agree
        self._every_steps = every_steps
        self._received = 0
        self.agreed = 0

    def should_stop(self, step: int) -> bool:
        """Whether the run is to end after this step; to be asked at every one."""
        if step % self._every_steps == 0:
            self.agreed = self._agree(self._received)
        return self.agreed != 0

    def __enter__(self) -> "StopSignals":
        self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame) -> None:
        if self._received:
            os._exit(128 + number)
        self._received = number
