"""The rate of a plateau, on the host and in the optimiser's state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxvit.config import OptimConfig, StopConfig
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.optim.plateau import plateau_drops, plateau_scale, with_plateau_scale
from jaxvit.runs.decisions import Decisions
from jaxvit.training.state import TrainState


@pytest.mark.parametrize("rises", [True, False])
@pytest.mark.parametrize("patience", [0, 1, 4])
@pytest.mark.parametrize("threshold", [0.0, 0.05])
@pytest.mark.parametrize("cooldown", [0, 3])
def test_drops_are_torchs(rises, patience, threshold, cooldown):
    rng = np.random.default_rng(patience)
    values = 0.5 + 0.1 * rng.normal(size=80).cumsum() * rng.choice([0, 1], 80)
    values = np.clip(values, 0.05, None).tolist()
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "max" if rises else "min", 0.5, patience, threshold, cooldown=cooldown, eps=0
    )
    expected, found = [], []
    for number, value in enumerate(values, 1):
        scheduler.step(value)
        expected.append(optimizer.param_groups[0]["lr"])
        drops = plateau_drops(values[:number], rises, patience, threshold, cooldown)
        found.append(0.5**drops)
    assert found == expected
    assert found[-1] < 0.5


def test_the_scale_multiplies_the_update_and_nothing_else():
    config = OptimConfig(schedule="plateau", lr=0.1)
    tx, _ = make_optimizer(config, 10)
    params = {"kernel": jnp.ones(3)}
    state, grads = tx.init(params), {"kernel": jnp.arange(3.0)}
    assert float(plateau_scale(state)) == 1
    whole, _ = tx.update(grads, state, params)
    lowered, after = tx.update(grads, with_plateau_scale(state, 0.25), params)
    np.testing.assert_allclose(lowered["kernel"], 0.25 * whole["kernel"], rtol=1e-6)
    assert float(plateau_scale(after)) == 0.25
    same = with_plateau_scale(after, 1.0)
    assert jax.tree.structure(same) == jax.tree.structure(state)


def test_other_schedules_have_no_scale():
    tx, _ = make_optimizer(OptimConfig(), 10)
    state = tx.init({"kernel": jnp.ones(3)})
    assert plateau_scale(state) is None


def test_every_option_of_the_plateau_reaches_the_run():
    params = {"kernel": jnp.ones(3)}
    whole = {"gamma": 0.5, "patience": 0, "threshold": 0.0, "cooldown": 0}
    for option, value, expected in (
        ("gamma", 0.25, 0.25**3), ("patience", 1, 0.5), ("threshold", 0.1, 0.5**4),
        ("cooldown", 2, 0.5),
    ):  # fmt: skip
        config = OptimConfig(schedule="plateau", **whole | {option: value})
        tx, _ = make_optimizer(config, 10)
        state = TrainState(jnp.int32(0), params, {}, (tx.init(params),), None)
        decisions = Decisions(("loss", False), config, StopConfig())
        for loss in (1.0, 0.95, 0.95, 0.95, 0.95):
            decisions.add({"val/loss": loss})
        scale = float(plateau_scale(decisions.with_rate(state).opt_state))
        assert scale == pytest.approx(expected), option
