"""Rates by layer, frozen parts, step schedules: what depends on names and numbers of steps."""

from fractions import Fraction
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxvit.command_line import parse
from jaxvit.config import OptimConfig
from jaxvit.errors import UserError
from jaxvit.models.resnet import make_resnet
from jaxvit.models.transformer import VisionTransformer, init_params
from jaxvit.models.variables import init_variables
from jaxvit.optim.groups import layer_groups, rate_factors, trained_paths
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.optim.schedules import make_schedule
from jaxvit.training.fit import Plan

MODEL = VisionTransformer(
    img_size=4, patch_size=2, num_classes=3, embed_dim=8, num_heads=2, num_layers=3,
    register_tokens=2, layer_scale=0.1,
)  # fmt: skip
LAYERS = 3


def shapes() -> dict:
    """With every parameter that a Vision Transformer can have."""
    return jax.eval_shape(lambda key: init_params(MODEL, key), jax.random.key(0))


def by_part(tree) -> dict[str, set]:
    """The values of a tree's leaves, by the layer or else by the first key."""
    found = {}
    for path, value in jax.tree.leaves_with_path(tree):
        names = [entry.key for entry in path]
        part = names[1] if names[0] == "transformer_encoder" else names[0]
        found.setdefault(part, set()).add(value)
    return found


def test_every_parameter_of_the_model_has_a_group():
    assert by_part(layer_groups(shapes())) == {
        "patch_embedding": {0}, "cls_token": {0}, "positional_embedding": {0}, "registers": {0},
        "layers_0": {1}, "layers_1": {2}, "layers_2": {3}, "norm": {4}, "head": {4},
    }  # fmt: skip
    with pytest.raises(ValueError, match="generator/kernel is no parameter of a Vision"):
        layer_groups({"generator": {"kernel": 0}})


def test_a_resnets_stages_are_its_layers():
    model = make_resnet("resnet18", 3, img_size=8)
    shapes = jax.eval_shape(partial(init_variables, model), jax.random.key(0))[0]
    groups = layer_groups(shapes)
    found = {name: set(jax.tree.leaves(part)) for name, part in groups.items()}
    assert found == {
        "conv1": {0}, "bn1": {0}, "layer1_0": {1}, "layer1_1": {1}, "layer2_0": {2},
        "layer2_1": {2}, "layer3_0": {3}, "layer3_1": {3}, "layer4_0": {4}, "layer4_1": {4},
        "fc": {5},
    }  # fmt: skip
    assert trained_paths(shapes, "backbone") == {("fc", "kernel"), ("fc", "bias")}
    assert rate_factors(shapes, 0.5, head_lr=10.0)["fc"] == {"kernel": 10.0, "bias": 10.0}


def test_the_head_has_the_rate_itself_times_its_multiple_and_the_embeddings_the_lowest():
    found = by_part(rate_factors(shapes(), 0.5, head_lr=10.0))
    assert found["head"] == {10.0}
    assert found["norm"] == {1.0}
    assert [found[f"layers_{i}"] for i in (2, 1, 0)] == [{0.5}, {0.25}, {0.125}]
    for name in ("patch_embedding", "cls_token", "positional_embedding", "registers"):
        assert found[name] == {0.0625}


@pytest.mark.parametrize("freeze", ["1 layer", "3 layers", "backbone"])
def test_rates_do_not_depend_on_what_is_frozen(freeze):
    paths = trained_paths(shapes(), freeze)
    whole = rate_factors(shapes(), 0.5, 10.0)

    def only(tree, above=()):
        kept = {}
        for key, value in tree.items():
            path = (*above, key)
            if isinstance(value, dict):
                if part := only(value, path):
                    kept[key] = part
            elif path in paths:
                kept[key] = value
        return kept

    part = only(whole)
    assert rate_factors(part, 0.5, 10.0) == part


@pytest.mark.parametrize(
    ("freeze", "trained"),
    [
        ("0 layers", {"layers_0", "layers_1", "layers_2", "norm", "head"}),
        ("1 layer", {"layers_1", "layers_2", "norm", "head"}),
        ("2 layers", {"layers_2", "norm", "head"}),
        ("3 layers", {"norm", "head"}),
        ("backbone", {"head"}),
    ],
)
def test_freezing_leaves_the_upper_parts_whole(freeze, trained):
    found = trained_paths(shapes(), freeze)
    every = {
        tuple(entry.key for entry in path): by_name(path)
        for path, _ in jax.tree.leaves_with_path(shapes())
    }
    assert found == {path for path, part in every.items() if part in trained}
    assert trained_paths(shapes(), "none") is None


def by_name(path) -> str:
    return path[1].key if path[0].key == "transformer_encoder" else path[0].key


def test_a_model_without_a_head_cannot_be_frozen_but_for_it():
    headless = {name: leaf for name, leaf in shapes().items() if name != "head"}
    with pytest.raises(ValueError, match="no parameter is left to train"):
        trained_paths(headless, "backbone")


def test_decoupled_decay_has_the_rate_of_the_parameters_layer():
    tx, _ = make_optimizer(OptimConfig(lr=0.1, weight_decay=0.5, layer_decay=0.5), 10)
    params = {"transformer_encoder": {"layers_0": {"kernel": jnp.ones(1)}}, "head": jnp.ones(1)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zeros, tx.init(params), params)
    assert float(updates["head"][0]) == pytest.approx(-0.05)
    layer = updates["transformer_encoder"]["layers_0"]["kernel"]
    assert float(layer[0]) == pytest.approx(-0.025)


def test_options_that_are_not_used_leave_the_optimisers_state_as_it_was():
    """Checkpoints of the versions before have it."""
    params = {"kernel": jnp.ones(1)}
    names = [type(part).__name__ for part in make_optimizer(OptimConfig(), 1)[0].init(params)]
    assert names == ["EmptyState", "ScaleByAdamState", "EmptyState", "ScaleByScheduleState"]


# Step schedules.


def test_a_step_schedule_is_torchs():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.002)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.7)
    expected = []
    for _ in range(400):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    config = OptimConfig(lr=0.002, schedule="step", gamma=0.7, step_every_steps=7)
    found = jax.vmap(make_schedule(config, 400))(jnp.arange(400))
    np.testing.assert_allclose(found, expected, rtol=1.2e-7)  # one rounding


@pytest.mark.parametrize(("examples", "batch_size", "every"), [(10, 4, 1), (12, 4, 2), (3, 8, 4)])
def test_epochs_of_the_schedule_are_those_of_the_plan(examples, batch_size, every):
    """Also where epochs end within a batch, or many in one."""
    plan = Plan(examples, batch_size, epochs=24)
    config = OptimConfig(lr=1.0, schedule="step", gamma=0.5, step_every_epochs=every)
    schedule = make_schedule(config, plan.total_steps, Fraction(examples, batch_size))
    for step in range(plan.total_steps):
        periods = (plan.epoch_of(step + 1) - 1) // every
        assert float(schedule(jnp.int32(step))) == 0.5**periods


def test_a_step_schedule_starts_with_the_warm_up():
    config = OptimConfig(lr=1.0, schedule="step", gamma=0.5, step_every_steps=3, warmup_steps=4)
    rates = [float(make_schedule(config, 8)(step)) for step in range(8)]
    assert rates == [0.25, 0.5, 0.75, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_epochs_without_their_length_are_refused():
    with pytest.raises(ValueError, match="epochs need steps_per_epoch"):
        make_schedule(OptimConfig(schedule="step", step_every_epochs=1), 10)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--optim.nesterov"], "--optim.nesterov is a form of SGD's momentum"),
        (["--optim.nesterov", "--optim.name", "sgd", "--optim.momentum", "0"], "above 0"),
        (["--optim.schedule", "step"], "give exactly one of them"),
        (
            ["--optim.schedule", "step", "--optim.step-every-steps", "3",
             "--optim.step-every-epochs", "1"],
            "give exactly one of them",
        ),
        (["--optim.freeze", "half"], "--optim.freeze 'half' names no part of the model: give none"),
        (["--optim.freeze", "-1 layers"], "names no part of the model"),
        (["--optim.freeze", "4 layers"], "at most \"3 layers\", which leaves the last norm"),
        (["--optim.layer-decay", "0"], "--optim.layer-decay 0.0 must be finite and above 0"),
        (["--optim.layer-decay", "1.1"], "--optim.layer-decay 1.1 is out of range"),
        (["--optim.head-lr", "-1"], "--optim.head-lr -1.0 must be finite and above 0"),
        (["--optim.gamma", "nan"], "--optim.gamma nan is out of range"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_refused_in_one_line_that_names_it(args, message):
    with pytest.raises(UserError) as error:
        parse(["digits", *args])
    assert message in str(error.value)
    assert "\n" not in str(error.value)
