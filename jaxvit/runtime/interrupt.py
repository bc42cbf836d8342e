"""SIGINT and SIGTERM: before the first step the process exits at once, later after its step.

Python runs a signal handler between two bytecodes of the main thread, which may spend a minute in
XLA's compiler, and an exception that unwinds through libraries as they start ends in crashes. So a
thread is woken by the signal itself, and the process exits without unwinding. This module imports
nothing slow: it is used before anything else is imported.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from jaxvit import cleanup

SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOPPED = (
    "stopped: the same command resumes from the last checkpoint, or starts again where there is "
    "none"
)

_watching = False
_training: "StopSignals | None" = None  # told of signals once its first step is done


def exit_on_signals() -> None:
    """From here on, SIGINT and SIGTERM print one line and exit with 130 or 143, at any moment.

    While a StopSignals is entered and has been asked once, the first signal is left to it.
    """
    global _watching
    if _watching:
        return
    _watching = True
    read, write = os.pipe()
    os.set_blocking(write, False)
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)  # the wake-up below needs a handler in Python
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(read,), name="signals", daemon=True).start()


def _watch(read: int) -> None:
    while True:
        for number in os.read(read, 64):
            if number in SIGNALS and not (_training and _training.receive(number)):
                exit_at_once(number)


def exit_at_once(number: int) -> NoReturn:
    """Removes what is half written, prints one line, and exits with 128 + number.

    Without atexit handlers and thread joins: of many processes one would wait for the others, and
    XLA's threads may be compiling.
    """
    cleanup.remove_all()
    if sys.stdout is not None and sys.stdout.isatty():
        os.write(sys.stdout.fileno(), b"\x1b[?25h\n")  # the cursor, which a progress bar hides
    os.write(2, f"{STOPPED}\n".encode())
    os._exit(128 + number)


class StopSignals:
    """While entered, remembers the first SIGINT or SIGTERM; the second exits at once.

    Before `should_stop` has been asked once, that is before the first step is done, the first
    exits at once too, where exit_on_signals was called.

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
        self._asked = False
        self._before = {}
        self.agreed = 0

    def should_stop(self, step: int) -> bool:
        """Whether the run is to end after this step; to be asked at every one."""
        self._asked = True
        if step % self._every_steps == 0:
            self.agreed = self._agree(self._received)
        return self.agreed != 0

    def receive(self, number: int) -> bool:
        """Takes note of a signal; False where the process has to exit at once."""
        if self._received or not self._asked:
            return False
        self._received = number
        return True

    def __enter__(self) -> "StopSignals":
        global _training
        _training = self
        if not _watching:  # as a function of another program, which has handlers of its own
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        global _training
        _training = None
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame) -> None:
        if not self.receive(number):
            exit_at_once(number)
