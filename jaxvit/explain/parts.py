"""Many images through a model in parts, which bounds memory; the parts take turns on devices."""

from collections.abc import Callable, Iterator
from itertools import cycle

import jax
import jax.numpy as jnp
import numpy as np

from jaxvit.shapes import Array

# Images that are computed at a time, unless told: see the measurements in docs/explain.md.
BATCH_SIZE = 8
# Rows (b,) and whether each counts -> the arguments that say what to compute of them.
PartOf = Callable[[np.ndarray, np.ndarray], tuple]


def in_parts(
    count: int, batch_size: int, devices: int = 1
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows 0 to count - 1 in parts of one size, so that one program computes all of them.

    Args:
      count: of all rows.
      batch_size: rows that are computed at a time, over all devices.
      devices: that compute a part each, of at least one row.

    Yields:
      Rows (b,), with the least b that needs no more parts than a device's share of batch_size, and
      whether each counts: the last part is filled up with row 0.

    Raises:
      ValueError: batch_size is below 1.

    Example:
      >>> [(rows.tolist(), counts.tolist()) for rows, counts in in_parts(5, 4)]
      [([0, 1, 2], [True, True, True]), ([3, 4, 0], [True, True, False])]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size} is too small: give at least 1")
    share = -(-batch_size // devices)
    share = -(-count // -(-count // share))
    for first in range(0, count, share):
        rows = np.arange(first, first + share)
        yield np.where(rows < count, rows, 0), rows < count


def collect(
    compute: Callable[..., Array], constants: tuple, count: int, batch_size: int, part_of: PartOf
) -> Array:
    """compute(*constants, *part_of(rows, counts)) of rows 0 to count - 1: (count, ...).

    Args:
      compute: compiled; gives a row for each row of the part.
      constants: trees of arrays.
      count, batch_size: as in_parts takes them.
      part_of: see PartOf.
    """
    places = _places(constants)
    parts = in_parts(count, batch_size, len(places))
    found = [
        compute(*place, *part_of(*part))
        for place, part in zip(cycle(places), parts, strict=False)
    ]  # fmt: skip
    return jnp.concatenate(_together(found, len(places)))[:count]


def add_up(
    add: Callable[..., Array],
    total: Array,
    constants: tuple,
    count: int,
    batch_size: int,
    part_of: PartOf,
) -> Array:
    """total, after total = add(total, *constants, *part_of(rows, counts)) for each part.

    Args:
      add: compiled.
      total: zeros. Each of several devices has a total of its own; they are added at the end.
      constants, count, batch_size, part_of: as collect takes them.
    """
    places = _places((total, *constants))
    totals = [total for total, *_ in places]
    for number, part in enumerate(in_parts(count, batch_size, len(places))):
        turn = number % len(places)
        _, *place = places[turn]
        totals[turn] = add(totals[turn], *place, *part_of(*part))
    return sum(_together(totals, len(places)))


def _places(constants: tuple) -> list[tuple]:
    """A copy for each device of this process.

    Only the constants themselves where they are traced, or on devices that the caller chose.
    """
    devices, leaves = jax.local_devices(), jax.tree.leaves(constants)
    fixed = any(
        isinstance(leaf, jax.core.Tracer) or getattr(leaf, "committed", False) for leaf in leaves
    )
    if fixed or len(devices) == 1:
        return [constants]
    return [jax.device_put(constants, device) for device in devices]


def _together(arrays: list[Array], places: int) -> list[Array]:
    """Arrays of several devices on the first one."""
    return arrays if places == 1 else [jnp.asarray(each) for each in jax.device_get(arrays)]
