"""The random draws of torchvision's transforms, recorded as they are made."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax.numpy as jnp
import numpy as np
import torch
from torchvision import transforms

from jaxvit.augment.colour import ColourDraw
from jaxvit.augment.operations import OPERATIONS, SIGNED, OperationDraw

FACTORS = ("brightness", "contrast", "saturation", "hue")


@contextmanager
def recorded() -> Iterator[list]:
    """A list of what torch.rand and torch.randint return meanwhile, and get_params of ColorJitter.

    Draws of get_params itself are not listed.
    """
    draws, originals = [], (torch.rand, torch.randint, transforms.ColorJitter.get_params)

    def listed(function):
        def draw(*args, **options):
            drawn = function(*args, **options)
            draws.append(drawn if isinstance(drawn, tuple) else drawn.item())
            return drawn

        return draw

    torch.rand, torch.randint = listed(torch.rand), listed(torch.randint)
    transforms.ColorJitter.get_params = staticmethod(listed(originals[2]))
    try:
        yield draws
    finally:
        torch.rand, torch.randint = originals[:2]
        transforms.ColorJitter.get_params = staticmethod(originals[2])


def operation_draw(draws: list[list[int]], level: int | None = None) -> OperationDraw:
    """Those of TrivialAugmentWide, or, with the level of all, of RandAugment with one operation.

    Args:
      draws: for each image an operation, a level where the operation has one and it is not given,
        and 0 or 1 for the sign where the operation has one.
    """
    rows = []
    for operation, *rest in draws:
        levelled = OPERATIONS[operation].__name__ not in ("identity", "auto_contrast", "equalize")
        at = level if level is not None else rest.pop(0) if levelled else 0
        rows.append((operation, at, bool(rest.pop(0)) if SIGNED[operation] else False))
        assert not rest
    operations, levels, signs = zip(*rows, strict=True)
    return OperationDraw(
        jnp.asarray(operations, jnp.int32), jnp.asarray(levels, jnp.int32), jnp.asarray(signs)
    )


def colour_draw(draws: list[tuple | None], p: float = 1.0) -> ColourDraw:
    """That of RandomApply([ColorJitter], p).

    Args:
      draws: for each image one number and, if the image is changed, get_params's.
    """
    applied = np.array([len(each) > 1 for each in draws])
    assert [each[0] <= p for each in draws] == list(applied)  # as RandomApply decides
    first = next(each[1] for each in draws if len(each) > 1)
    rows = [each[1] if len(each) > 1 else first for each in draws]
    amounts = [
        None if column[0] is None else jnp.asarray(column, jnp.float32)
        for column in zip(*(row[1:] for row in rows), strict=True)
    ]
    orders = jnp.asarray(np.stack([row[0] for row in rows]), jnp.int32)
    return ColourDraw(*amounts, orders, jnp.asarray(applied))
