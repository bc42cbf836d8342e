"""Optimiser options: schedule, decay, clipping, moments, averaging."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvit.config import OptimConfig
from jaxvit.optim.averaging import update_average
from jaxvit.optim.optimizers import decay_mask, make_optimizer
from jaxvit.optim.schedules import make_schedule, warmup_steps
from tests.tiny_model import params


def test_warm_up_rises_linearly_and_cosine_ends_at_zero():
    config = OptimConfig(lr=0.4, schedule="cosine", warmup_steps=4)
    schedule = make_schedule(config, total_steps=14)
    rates = np.array([float(schedule(step)) for step in range(15)])
    np.testing.assert_allclose(rates[:5], [0.1, 0.2, 0.3, 0.4, 0.4], rtol=1e-6)
    np.testing.assert_allclose(rates[9], 0.2, rtol=1e-6)
    np.testing.assert_allclose(rates[14], 0, atol=1e-9)
    assert float(make_schedule(OptimConfig(lr=0.3, warmup_steps=1), 5)(0)) == pytest.approx(0.3)
    assert float(make_schedule(OptimConfig(), 5)(99)) == pytest.approx(1e-3)


def test_only_kernels_decay_under_the_decay_mask():
    kept = [
        jax.tree_util.keystr(path)
        for path, decays in jax.tree.leaves_with_path(decay_mask(params()))
        if decays
    ]
    assert all("kernel" in name for name in kept)
    assert len(kept) == 6  # patches, qkv, fc_out, mlp_0, mlp_3, head
    tx, _ = make_optimizer(OptimConfig(decay="matrices", weight_decay=0.5), 10)
    start = params()
    zeros = jax.tree.map(jnp.zeros_like, start)
    updates, _ = jax.jit(tx.update)(zeros, tx.init(start), start)
    assert not updates["norm"]["scale"].any()
    np.testing.assert_allclose(updates["head"]["kernel"], -5e-4 * start["head"]["kernel"], 1e-5)


def test_clipping_scales_the_gradient_before_the_moments():
    """A large gradient among small ones changes the parameter less when it is clipped."""
    gradients = [1.0, 1.0, 1000.0, 1.0]

    def run(clip_norm):
        tx, _ = make_optimizer(OptimConfig(clip_norm=clip_norm, weight_decay=0.0), 10)
        value = {"kernel": jnp.zeros(1)}
        state = tx.init(value)
        for gradient in gradients:
            updates, state = tx.update({"kernel": jnp.full(1, gradient)}, state, value)
            value = optax.apply_updates(value, updates)
        return float(value["kernel"][0])

    assert run(1.0) == pytest.approx(-4e-3, rel=1e-4)  # four equal steps of lr
    assert abs(run(0.0) - run(1.0)) > 5e-4
    assert abs(run(2.0) - run(1.0)) > 5e-5


def test_adams_decays_and_eps_are_those_of_the_configuration():
    lr, b1, b2, eps = 0.1, 0.6, 0.8, 0.5
    tx, _ = make_optimizer(OptimConfig(lr=lr, b1=b1, b2=b2, eps=eps, weight_decay=0.0), 10)
    value = {"kernel": jnp.zeros(1)}
    state, m, v = tx.init(value), 0.0, 0.0
    for t, gradient in enumerate((1.0, -3.0, 0.5), 1):
        updates, state = tx.update({"kernel": jnp.full(1, gradient)}, state, value)
        m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
        expected = -lr * m / (1 - b1**t) / (math.sqrt(v / (1 - b2**t)) + eps)
        assert float(updates["kernel"][0]) == pytest.approx(expected, rel=1e-5)


def test_an_average_copies_integers():
    old = {"weight": jnp.float32(1), "count": jnp.int32(4)}
    new = {"weight": jnp.float32(3), "count": jnp.int32(7)}
    found = update_average(old, new, 0.75)
    assert found == {"weight": 1.5, "count": 7}
    assert found["count"].dtype == jnp.int32


def test_warm_up_is_a_fraction_of_the_steps_unless_a_number_is_given():
    assert warmup_steps(OptimConfig(warmup=0.1), 250) == 25
    assert warmup_steps(OptimConfig(warmup=0.1, warmup_steps=7), 250) == 7
    assert warmup_steps(OptimConfig(warmup=0.1, warmup_steps=0), 250) == 0
    rate = make_schedule(OptimConfig(lr=1.0, warmup=0.1), 250)
    assert float(rate(4)) == pytest.approx(0.2)
