"""SIGINT and SIGTERM: at start-up the process exits at once, in training after the current step.

An exception that unwinds through a library while it is being imported can crash the process.
Therefore a handler ends it without unwinding the stack. Python runs a handler only between two
bytecodes of the main thread, and one call of XLA's compiler may take a minute, so from
watch_for_signals on a signal wakes a thread (signal.set_wakeup_fd) that does the same. No thread
may be there before memory is kept (see jaxvit.runtime.memory). This module imports nothing slow,
because it is used before anything else is imported. A program may block both signals in its first
line: they wait until exit_on_signals unblocks them.
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

_handling = False
_watching = False
_last_line = STOPPED
_exiting = False
_training: "StopSignals | None" = None  # receives signals once its first step is done


def exit_on_signals(line: str = STOPPED) -> None:
    """Makes SIGINT and SIGTERM print one line and exit with 130 or 143, at any moment.

    Those that were blocked do so now. Until watch_for_signals is called, it is the moment at which
    the main thread runs Python again.

    While a StopSignals is entered and its should_stop has been called, it handles the first signal
    instead.

    Args:
      line: that is printed.
    """
    global _handling, _last_line
    if _handling:
        return
    _handling, _last_line = True, line
    for number in SIGNALS:
        signal.signal(number, lambda number, _: _receive(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def watch_for_signals() -> None:
    """From here on a thread receives the signals, whatever the main thread does.

    It does nothing unless exit_on_signals was called.
    """
    global _watching
    if _watching or not _handling:
        return
    _watching = True
    read, write = os.pipe()
    os.set_blocking(write, False)
    threading.Thread(target=_watch, args=(read,), name="signals", daemon=True).start()
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)  # the wake-up needs a handler in Python


def say_when_stopped(line: str) -> None:
    """From here on a signal that ends the process prints this line."""
    global _last_line
    _last_line = line


def _watch(read: int) -> None:
    while True:
        for number in os.read(read, 64):
            if number in SIGNALS:
                _receive(number)


def _receive(number: int) -> None:
    training = _training  # which another thread may set to None
    if not (training and training.receive(number)):
        exit_at_once(number)


def exit_at_once(number: int) -> NoReturn:
    """Removes partially written files, prints one line, and exits with 128 + number.

    Skips atexit handlers and thread joins, because they may block: JAX's handlers wait for other
    processes, and XLA's threads may be compiling.
    """
    global _exiting
    _exiting = True
    cleanup.remove_all()
    if sys.stdout is not None and sys.stdout.isatty():
        os.write(sys.stdout.fileno(), b"\x1b[?25h\n")  # show the cursor, which a progress bar hides
    os.write(2, f"{_last_line}\n".encode())
    os._exit(128 + number)


def wait_if_exiting() -> None:
    """Blocks for good while a signal ends the process: what fails now fails because of that."""
    if _exiting:
        threading.Event().wait()


class StopSignals:
    """While entered, records the first SIGINT or SIGTERM; a second one exits at once.

    If exit_on_signals was called, the first signal exits at once too as long as `should_stop` has
    not been called, that is before the first step is done.

    Args:
      agree: this process's signal number (0: none) -> that of any process. Every process calls it
        at the same steps.
      every_steps: steps between two calls of agree, each of which synchronises the processes.

    Attributes:
      agreed: the number of the signal that stops the run, or 0; the same in every process.
    """

    def __init__(self, agree: Callable[[int], int] = int, every_steps: int = 1):
        self._agree = agree
        self._every_steps = every_steps
        self._received = 0
        self._asked = False
        self._before = {}
        self.agreed = 0

    def should_stop(self, step: int) -> bool:
        """Whether the run must end after this step; to be called after every step."""
        self._asked = True
        if step % self._every_steps == 0:
            self.stopped()
        return self.agreed != 0

    def stopped(self) -> bool:
        """Whether any process has received a signal by now; to be asked once, after the loop."""
        self.agreed = self._agree(self._received)
        return self.agreed != 0

    def receive(self, number: int) -> bool:
        """Records a signal. Returns False if the process must exit at once instead."""
        if self._received or not self._asked:
            return False
        self._received = number
        return True

    def __enter__(self) -> "StopSignals":
        global _training
        _training = self
        if not _handling:  # called from another program, whose handlers are restored at the end
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        global _training
        _training = None
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame) -> None:
        if self.receive(number):
            return
        before = self._before[number]
        if callable(before):
            before(number, frame)
        elif before is not signal.SIG_IGN:
            exit_at_once(number)
