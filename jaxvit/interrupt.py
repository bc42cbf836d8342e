"""Stopping politely: a signal finishes the step, a second one does not wait."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):  # no handler of errors may take it for one
    """The run stops at a signal.

    Attributes:
      exit_code: 128 plus the signal's number, as shells report it: 130 or 143.
      agreed: whether every process of the run stops here.
    """

    def __init__(self, message: str, signum: int, agreed: bool):
        super().__init__(message)
        self.exit_code = 128 + signum
        self.agreed = agreed


@contextmanager
def unwinding() -> Iterator[None]:
    """Where no step is taken, a signal raises Interrupted: nothing half-written stays behind."""

    def stop(number: int, _frame) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)  # a second one does not wait
        raise Interrupted(
            "stopped: the same command goes on from the last checkpoint, or begins anew where "
            "there is none",
            number,
            agreed=False,
        )

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
            if sys.stdout.isatty():
                os.write(sys.stdout.fileno(), b"\x1b[?25h\n")  # the cursor, which the bar hides
            os._exit(128 + number)
        self._received = number
