"""What a program does before its slow imports, and when they are done.

Modules stay until the program ends. Each search for garbage while JAX, Flax and Orbax are imported,
and each full one later, would visit all of them and find none. This module imports nothing slow.
"""

import gc

from jaxvit.runtime.interrupt import STOPPED, exit_on_signals


def begin(stopped: str = STOPPED) -> None:
    """Before the imports: signals end the process (see exit_on_signals), and no garbage is sought.

    Args:
      stopped: the line that is printed after a signal.
    """
    exit_on_signals(stopped)
    gc.disable()


def imported() -> None:
    """After the imports: garbage is sought again, among what is made from here on.

    Does nothing where it is sought already, as in another program that calls ours.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
