"""Stochastic weight averaging against torch.optim.swa_utils: rate, average, batch statistics."""

import math
import re
from fractions import Fraction
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import linen as nn
from jax.sharding import Mesh
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn

from jaxvit.command_line import parse
from jaxvit.config import AugmentConfig, Config, DataConfig, OptimConfig
from jaxvit.data.decoded import Split
from jaxvit.data.loader import train_batches
from jaxvit.errors import UserError
from jaxvit.models.batch_norm import BatchNorm
from jaxvit.models.variables import joined
from jaxvit.optim.averaging import update_average
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.optim.schedules import first_swa_epoch, make_schedule
from jaxvit.runtime.devices import AXIS, Devices
from jaxvit.tasks.classification import make_classification
from jaxvit.training.evaluate import make_refresh
from jaxvit.training.fit import Plan, average_decay
from jaxvit.training.steps import step_keys


@pytest.mark.parametrize("anneal", [0, 1, 3, 10])
@pytest.mark.parametrize("start", [0.3, 0.75])
def test_the_rate_is_that_of_torchs_swalr(anneal, start):
    epochs, per_epoch = 12, 4
    config = OptimConfig(
        lr=0.3, schedule="step", gamma=0.5, step_every_epochs=2, swa_start=start, swa_lr=0.05,
        swa_anneal_epochs=anneal,
    )  # fmt: skip
    schedule = make_schedule(config, epochs * per_epoch, Fraction(per_epoch))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    before = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    swa = None
    for epoch in range(epochs):
        if epoch == math.floor(start * epochs):
            swa = SWALR(optimizer, 0.05, anneal_epochs=anneal)
        for step in range(per_epoch):
            found = float(schedule(epoch * per_epoch + step))
            assert found == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6), (epoch, step)
        optimizer.step()
        (swa or before).step()


def test_the_average_is_that_of_the_weights_at_the_ends_of_the_last_epochs():
    """Epochs of 2.5 steps: they end with steps 3, 5, 8, 10, 13; the last three are averaged."""
    plan = Plan(examples=10, batch_size=4, epochs=5)
    decay = average_decay(OptimConfig(swa_start=0.4), plan)
    model, averaged = torch.nn.Linear(1, 1, bias=False), None
    weights = np.random.default_rng(0).normal(size=plan.total_steps).astype(np.float32)
    average = jnp.float32(0)
    for step, weight in enumerate(weights):
        average = update_average(average, jnp.float32(weight), decay(jnp.int32(step)))
        with torch.no_grad():
            model.weight.fill_(float(weight))
        if step + 1 in (8, 10, 13):
            averaged = averaged or AveragedModel(model)
            averaged.update_parameters(model)
            assert float(average) == pytest.approx(averaged.module.weight.item(), rel=1e-6)
        elif step < 5:
            assert float(average) == weight


class Normalised(nn.Module):
    """Logits are the means over positions of normalised channels."""

    img_size: int = 4
    in_channels: int = 3
    num_classes: int = 3
    axis: str | None = None

    @nn.compact
    def __call__(self, x, deterministic: bool = True):
        return BatchNorm(self.axis, name="bn")(x, deterministic).mean((1, 2))


@pytest.mark.parametrize("count", [1, 4])
def test_statistics_are_computed_anew_as_by_torchs_update_bn(count):
    rng = np.random.default_rng(0)
    pixels = rng.random((20, 4, 4, 3)) * np.linspace(9, 255, 20)[:, None, None, None]
    split = Split(pixels.astype(np.uint8), np.arange(20), np.zeros(20, np.int32), ())
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    config = Config(data=DataConfig(mean=mean, std=std))
    task = make_classification(Normalised(), optax.sgd(0.1), optax.constant_schedule(0.1), config)
    devices = Devices(Mesh(np.asarray(jax.devices()[:count]), (AXIS,)), "jit", False)
    params, extra = task.init(jax.random.key(0))
    extra = jax.tree.map(lambda x: x + 7.0, extra)  # from which nothing may come
    batches = list(islice(train_batches(split, 8, seed=5), 3))
    refresh = make_refresh(task, devices, seed=5)
    weights = devices.replicate(joined(params, extra))
    found = refresh(weights, map(devices.place_batch, batches))
    norm = torch.nn.BatchNorm2d(3)
    images = [
        torch.tensor((each["image"] / 255 - mean) / std, dtype=torch.float32).permute(0, 3, 1, 2)
        for each in batches
    ]
    update_bn(images, norm)
    statistics = found["batch_stats"]["bn"]
    np.testing.assert_allclose(statistics["mean"], norm.running_mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(statistics["var"], norm.running_var, rtol=1e-5)
    assert found["params"].keys() == params.keys()


def test_new_statistics_are_of_draws_from_the_seed():
    config = Config(
        augment=AugmentConfig(crop_scale=(0.1, 0.5)),
        data=DataConfig(mean=(0.5,) * 3, std=(0.2,) * 3),
    )
    task = make_classification(Normalised(), optax.sgd(0.1), optax.constant_schedule(0.1), config)
    params, extra = jax.jit(task.init)(jax.random.key(0))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 4, 4, 3), np.uint8)
    batches = [{"image": each, "label": np.zeros(8, np.int32)} for each in pixels]
    weights = joined(params, extra)
    devices = Devices(Mesh(np.asarray(jax.devices()[:1]), (AXIS,)), "jit", False)

    @jax.jit
    def mean_of(key, batch):
        found = task.statistics(weights, task.prepare(key, batch))
        return found["batch_stats"]["bn"]["mean"]

    for seed in (5, 6):
        found = make_refresh(task, devices, seed)(weights, map(devices.place_batch, batches))
        keys = [step_keys(seed, jnp.int32(number))[0] for number in range(2)]
        expected = np.mean([mean_of(*each) for each in zip(keys, batches, strict=True)], axis=0)
        np.testing.assert_allclose(found["batch_stats"]["bn"]["mean"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--optim.swa-start", "0.5"], "--optim.ema-decay 0.98 and --optim.swa-start 0.5 are two"),
        (
            ["--optim.swa-lr", "0.1"],
            "--optim.swa-lr 0.1 is the rate of stochastic weight",
        ),
        (
            ["--optim.ema-decay", "0", "--optim.swa-start", "0.5", "--stop.patience", "3"],
            "--stop.patience 3 could end the run before stochastic weight averaging begins",
        ),
        (["--optim.swa-start", "1"], "--optim.swa-start 1.0 is out of range"),
        (["--optim.clip-value", "1"], "--optim.clip-norm 1 and --optim.clip-value 1 both limit"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(args, message):
    with pytest.raises(UserError, match=re.escape(message)):
        parse(["digits", *args])


def test_several_epochs_in_a_step_are_refused():
    with pytest.raises(
        UserError, match="--batch-size 64 puts several into one step: give at most 10"
    ):
        average_decay(OptimConfig(swa_start=0.5), Plan(10, 64, 10))
    decay = average_decay(OptimConfig(swa_start=0.5), Plan(64, 64, 4))  # as many are no fault
    assert [float(decay(jnp.int32(step))) for step in range(4)] == [0, 0, 0, 0.5]


def test_a_share_of_the_epochs_is_whole_epochs():
    shares = {(0.29, 100): 29, (0.75, 10): 7, (0.1, 3): 0, (0.99, 10): 9}
    for (share, epochs), first in shares.items():
        assert first_swa_epoch(OptimConfig(swa_start=share), epochs) == first


def test_values_of_the_gradient_are_clipped_as_by_torch():
    gradient = np.array([-3.0, -0.2, 0.1, 5.0], np.float32)
    parameter = torch.nn.Parameter(torch.zeros(4))
    parameter.grad = torch.tensor(gradient)
    torch.nn.utils.clip_grad_value_([parameter], 0.5)
    config = OptimConfig(name="sgd", lr=1.0, momentum=0.0, weight_decay=0.0, clip_value=0.5)
    tx, _ = make_optimizer(config, total_steps=1)
    updates, _ = tx.update(jnp.asarray(gradient), tx.init(jnp.zeros(4)), jnp.zeros(4))
    np.testing.assert_array_equal(-np.asarray(updates), parameter.grad.numpy())
