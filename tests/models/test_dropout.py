"""Dropout's masks have the statistics of independent Bernoulli draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxvit.models.dropout import Dropout, draw_kept

SHAPE = (16, 197, 96)  # examples, tokens, units
KEYS = jax.random.split(jax.random.key(0), 40)


@pytest.fixture(scope="module", params=[0.9, 0.5, 0.999])
def masks(request) -> tuple[float, np.ndarray]:
    p = request.param
    draw = jax.jit(lambda key: draw_kept(key, SHAPE, p))
    return p, np.stack([draw(key) for key in KEYS])


def z_of(found: np.ndarray, p: float, count: int) -> np.ndarray:
    """The deviation of a count from its expectation, in standard deviations."""
    return (found - count * p) / np.sqrt(count * p * (1 - p))


def test_the_share_kept_of_each_mask_example_token_and_unit_is_binomial(masks):
    """The counts spread as binomial ones: not more, and not less, as evenly spaced draws would."""
    p, kept = masks
    for axes in ((1, 2, 3), (2, 3), (0, 1, 3), (0, 1, 2), (0,)):
        counts = kept.sum(axis=axes).ravel()
        number = kept.size // counts.size
        assert abs(z_of(kept.sum(), p, kept.size)) < 5
        if number * p * (1 - p) > 5:  # where the normal distribution approximates it
            z = z_of(counts, p, number)
            assert abs(z.std() - 1) < 6 / np.sqrt(2 * counts.size), axes


def test_units_at_any_distance_and_masks_of_any_two_keys_are_independent(masks):
    p, kept = masks
    x = (kept - p) / np.sqrt(p * (1 - p))
    flat = x.reshape(len(KEYS), -1)
    size = flat.shape[1]
    for lag in (1, 2, 3, 4, 7, 8, 16, 31, 32, 64, 96, 128, 197, 256, 1024, 4096, 65536, 96 * 197):
        z = (flat[:, lag:] * flat[:, :-lag]).sum() / np.sqrt(len(KEYS) * (size - lag))
        assert abs(z) < 5, lag
    between = (flat @ flat.T / np.sqrt(size))[np.triu_indices(len(KEYS), 1)]
    assert np.abs(between).max() < 5.5
    assert abs(between.std() - 1) < 0.15


def test_all_patterns_of_eight_units_are_equally_frequent_at_one_half():
    draw = jax.jit(lambda key: draw_kept(key, SHAPE, 0.5))
    bits = np.concatenate([np.asarray(draw(key)).reshape(-1, 8) for key in KEYS])
    counts = np.bincount(bits @ (1 << np.arange(8)), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_kept_units_are_scaled_and_evaluation_drops_none():
    x = jnp.ones(SHAPE)
    out = Dropout(0.25).apply({}, x, False, rngs={"dropout": KEYS[0]})
    np.testing.assert_allclose(np.unique(out), [0, 1 / 0.75], rtol=1e-6)
    np.testing.assert_array_equal(Dropout(0.25).apply({}, x, True), x)
    np.testing.assert_array_equal(Dropout(0.0).apply({}, x, False), x)
