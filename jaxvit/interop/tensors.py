"""Tensors of a weights file: that one is there, holds numbers, and belongs to no other model."""

from collections.abc import Mapping

import numpy as np

from jaxvit.errors import UserError
from jaxvit.interop.layout import Entry, Layout, Named


def take(named: Mapping[str, Named], name: str, entry: Entry, source: str) -> Named:
    """The tensor of that name.

    Raises:
      UserError: it is missing.
    """
    if name not in named:
        more = ", a class token, which every model here has" if entry.ours == "cls_token" else ""
        raise UserError(
            f"{source} has no {name}{more}: the file is incomplete, or of another model"
        )
    return named[name]


def check_refused(named: Mapping[str, Named], layout: Layout, source: str) -> None:
    """Raises UserError at a tensor without which the model would be another one."""
    for name, tensor in named.items():
        if reason := layout.reason_to(layout.refused, name):
            raise UserError(
                f"{source} cannot be loaded because of {tensor.original} ({reason}): choose other "
                "weights"
            )


def check_numbers(tensor: Named, source: str) -> None:
    """Raises UserError where it holds no floats, or one that is not finite in float32."""
    original, array = tensor
    if array.dtype not in (np.float32, np.float64):
        raise UserError(
            f"{original} of {source} holds {array.dtype}, not floating-point numbers: is it "
            "quantised? Choose a float file"
        )
    with np.errstate(over="ignore"):
        finite = np.isfinite(array.astype(np.float32))
    if not finite.all():
        number = int((~finite).sum())
        raise UserError(
            f"{original} of {source} holds {number} of {array.size} values that are NaN or "
            "infinite in float32: training diverged, or the file is damaged"
        )
