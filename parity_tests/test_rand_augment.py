"""RandAugment: torchvision's draws, replayed to the byte."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torchvision.transforms import RandAugment

from jaxvit.augment.operations import OPERATIONS, SIGNED, OperationDraw
from jaxvit.augment.rand_augment import apply_rand_augment, draw_rand_augment
from parity_tests.comparison import to_nchw, to_nhwc
from parity_tests.torchvision_draws import operation_draw, recorded


def split(draws: list[int], num_ops: int) -> list[list[int]]:
    """The numbers of one image, an operation after the other."""
    rows = []
    for _ in range(num_ops):
        size = 2 if SIGNED[draws[0]] else 1
        rows.append(draws[:size])
        draws = draws[size:]
    assert not draws
    return rows


@pytest.mark.parametrize(("num_ops", "magnitude"), [(1, 30), (3, 9)])
def test_replayed_draws_give_torchvisions_bytes(num_ops, magnitude):
    torch.manual_seed(0)
    images = torch.randint(0, 256, (150, 3, 16, 20), dtype=torch.uint8)
    transform, draws, expected = RandAugment(num_ops, magnitude), [], []
    for image in images:
        with recorded() as drawn:
            expected.append(transform(image))
        draws.append(split(drawn, num_ops))
    steps = [operation_draw(step, magnitude) for step in zip(*draws, strict=True)]
    draw = OperationDraw(*(jnp.stack(column) for column in zip(*steps, strict=True)))
    found, targets = jax.jit(apply_rand_augment)(to_nhwc(images), jnp.eye(150), draw)
    np.testing.assert_array_equal(to_nchw(found), torch.stack(expected))
    np.testing.assert_array_equal(targets, jnp.eye(150))


def test_operations_and_signs_are_uniform_and_each_has_the_magnitude():
    draw = draw_rand_augment(jax.random.key(0), 7000, 2, 11)
    assert (draw.level == 11).all()
    for values, number in ((draw.operation, 14), (draw.negative, 2)):
        assert values.shape == (2, 7000)
        for row in np.asarray(values, int):
            counts = np.bincount(row, minlength=number)
            expected = 7000 / number
            assert np.abs(counts - expected).max() < 4 * expected**0.5
        assert abs(np.corrcoef(*np.asarray(values, float))[0, 1]) < 0.04
    assert len(OPERATIONS) == 14
