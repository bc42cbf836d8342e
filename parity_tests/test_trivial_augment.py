"""TrivialAugment: torchvision's draws, replayed to the byte."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torchvision.transforms import TrivialAugmentWide

from jaxvit.augment.trivial_augment import apply_trivial_augment, draw_trivial_augment
from parity_tests.comparison import to_nchw, to_nhwc
from parity_tests.torchvision_draws import operation_draw, recorded


def test_replayed_draws_give_torchvisions_bytes():
    torch.manual_seed(0)
    images = torch.randint(0, 256, (300, 3, 16, 16), dtype=torch.uint8)
    transform, draws, expected = TrivialAugmentWide(), [], []
    for image in images:
        with recorded() as drawn:
            expected.append(transform(image))
        draws.append(drawn)
    draw = operation_draw(draws)
    assert set(np.asarray(draw.operation)) == set(range(14))
    found, targets = jax.jit(apply_trivial_augment)(to_nhwc(images), jnp.eye(300), draw)
    np.testing.assert_array_equal(to_nchw(found), torch.stack(expected))
    np.testing.assert_array_equal(targets, jnp.eye(300))


def test_operations_levels_and_signs_are_uniform_and_independent():
    draw = draw_trivial_augment(jax.random.key(0), 14000)
    for values, number in ((draw.operation, 14), (draw.level, 31), (draw.negative, 2)):
        counts = np.bincount(np.asarray(values, int), minlength=number)
        assert counts.shape == (number,)
        expected = 14000 / number
        assert np.abs(counts - expected).max() < 4 * expected**0.5
    pairs = np.corrcoef(np.stack([np.asarray(x, float) for x in draw]))
    assert np.abs(pairs - np.eye(3)).max() < 0.03
