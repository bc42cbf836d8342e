"""A field of the configuration with its checks, each of which raises a UserError in one line."""

import importlib.util
import math
from collections.abc import Callable
from dataclasses import MISSING, field
from typing import Any

from jaxvit.errors import UserError

Check = Callable[[str, Any], None]  # (option, value): raises UserError


def require(ok: bool, message: str) -> None:
    """Raises UserError(message) unless ok."""
    if not ok:
        raise UserError(message)


# Checks of one value, passed to `option`.


def count(low: int, high: int = 2**31 - 1) -> Check:
    """An integer in [low, high]."""

    def check(option: str, value: int) -> None:
        require(value >= low, f"--{option} {value} is too small: it must be at least {low}")
        require(value <= high, f"--{option} {value} is too large: it must be at most {high}")

    return check


def within(low: float, high: float, closed: bool = True) -> Check:
    """A number in [low, high], or in [low, high) where not closed."""

    def check(option: str, value: float) -> None:
        inside = low <= value <= high if closed else low <= value < high
        end = "]" if closed else ")"
        require(inside, f"--{option} {value} is out of range: it must lie in [{low}, {high}{end}")

    return check


def positive(option: str, value: float) -> None:
    """A number above 0 that float32 can represent, as well as its square root."""
    require(1e-30 < value < 1e30, f"--{option} {value} must be finite and above 0")


def directory(option: str, value: str | None) -> None:
    """A name that is not empty."""
    require(value != "", f"--{option} needs the name of a directory")


def not_empty(option: str, value: str) -> None:
    """Anything but an empty text."""
    require(value != "", f"--{option} is empty: give a name, or leave it out")


def needs_package(package: str, extra: str) -> Check:
    """Anything, where a package is installed; it is not imported.

    Args:
      package: by its name in Python.
      extra: of jaxvit, which installs it.
    """

    def check(option: str, value: Any) -> None:
        found = importlib.util.find_spec(package)
        require(
            found is not None and found.origin is not None,  # a mere folder has no origin
            f"--{option} {value} needs the package {package}, which is not installed: "
            f'pip install "jaxvit[{extra}]", or leave it out',
        )

    return check


def span(low: float, high: float, what: str) -> Check:
    """A pair LOW HIGH with low < LOW <= HIGH <= high."""

    def check(option: str, value: tuple[float, float]) -> None:
        limit = f" <= {high:g}" if high < math.inf else ""
        require(
            low < value[0] <= value[1] <= high and value[1] < math.inf,
            f"--{option} {value[0]} {value[1]} is not a range{what}: give LOW HIGH with "
            f"{low:g} < LOW <= HIGH{limit}",
        )

    return check


def option(default: Any = MISSING, *checks: Check, may_change: bool = False, **more: Any) -> Any:
    """A field with its checks.

    Args:
      default: as in dataclasses.field.
      checks: each is called with the option's name and its value, unless that is None.
      may_change: whether a resumed run may have another value. That is so if no result depends on
        it, or if it only places the work on devices and results change by rounding.
      more: other arguments of dataclasses.field.
    """
    return field(default=default, metadata={"checks": checks, "may_change": may_change}, **more)


def nearest_multiple(value: int, of: int) -> int:
    """The multiple of `of`, at least `of`, that is closest to value."""
    return max(1, round(value / of)) * of
