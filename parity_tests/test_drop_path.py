import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxvit.models.drop_path import DropPath, drop_path_rate
from parity_tests.replay import MaskStream, ReplayedDropout
from torch_ref import drop_path as torch_drop_path

RATE = 0.3


def test_a_branch_is_kept_or_dropped_for_a_whole_example():
    x = jnp.ones((1000, 2, 3))
    ours, sown = DropPath(RATE).apply(
        {}, x, False, rngs={"dropout": jax.random.key(0)}, mutable=["dropout"]
    )
    torch.manual_seed(0)
    theirs = torch_drop_path.DropPath(RATE).train()(torch.ones(1000, 2, 3)).numpy()
    for y in (np.asarray(ours), theirs):
        assert (y == y[:, :1, :1]).all()
        assert set(np.unique(y)) == {0, np.float32(1 / (1 - RATE))}
        assert abs((y[:, 0, 0] == 0).mean() - RATE) < 5 * (RATE * (1 - RATE) / 1000) ** 0.5
    stream = MaskStream()
    stream.load(sown["dropout"]["kept"])
    replayed = ReplayedDropout(stream, RATE).train()(torch.ones(1000, 2, 3))
    np.testing.assert_allclose(ours, replayed, rtol=1e-6)


@pytest.mark.parametrize("rate", [0.0, RATE])
def test_nothing_is_dropped_when_scoring(rate):
    x = jnp.arange(6.0).reshape(2, 3)
    assert (DropPath(rate).apply({}, x, True) == x).all()
    module = torch_drop_path.DropPath(rate).eval()
    assert (module(torch.ones(2, 3)) == 1).all()


@pytest.mark.parametrize("rate_of", [drop_path_rate, torch_drop_path.drop_path_rate])
def test_the_rate_rises_linearly_from_0_to_that_of_the_last_layer(rate_of):
    assert [rate_of(0.4, i, 5) for i in range(5)] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert rate_of(0.4, 0, 1) == 0
