"""Batches that are joined to one update, against a loop in PyTorch and Lightning's callback."""

import json
import re
from fractions import Fraction

import jax
import jax.numpy as jnp
import lightning as L
import numpy as np
import optax
import pytest
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch.utils.data import DataLoader, TensorDataset

import train_jax
from jaxvit.command_line import parse
from jaxvit.config import OptimConfig
from jaxvit.errors import UserError
from jaxvit.optim.joining import plan_joining
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.training.fit import Plan, average_decay

X = np.random.default_rng(0).normal(size=(18, 8, 3)).astype(np.float32)  # 18 batches of 8
Y = np.random.default_rng(1).normal(size=(18, 8)).astype(np.float32)


def in_jax(config: OptimConfig, per_epoch: Fraction, rows=range(18)) -> np.ndarray:
    """The parameters after each of 18 steps, on these batches."""
    tx, _ = make_optimizer(config, len(X), per_epoch)

    @jax.jit
    def step(carry, x, y):
        weights, state = carry
        grads = jax.grad(lambda w: jnp.mean((x @ w["kernel"] - y) ** 2))(weights)
        updates, state = tx.update(grads, state, weights)
        return optax.apply_updates(weights, updates), state

    weights = {"kernel": jnp.zeros(3)}
    carry, found = (weights, tx.init(weights)), []
    for x, y in zip(X[list(rows)], Y[list(rows)], strict=True):
        carry = step(carry, x, y)
        found.append(np.asarray(carry[0]["kernel"]))
    return np.stack(found)


def test_updates_are_those_of_a_loop_in_pytorch_at_the_rate_of_the_last_batch():
    """Epochs of 4.5 batches; of the second on, groups of 3, of which the last has fewer."""
    config = OptimConfig(
        name="sgd", lr=0.1, momentum=0.9, weight_decay=0.01, schedule="cosine", clip_norm=0.5,
        accumulate_grad_batches=("0:2", "1:3"),
    )  # fmt: skip
    groups = [2, 2, 1, 3, 1, 3, 2, 3, 1]  # epochs end with batches 5, 9, 14, 18
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=0.01)
    found, step = in_jax(config, Fraction(9, 2)), 0
    for size in groups:
        for number in range(size):
            loss = ((torch.tensor(X[step]) @ weight - torch.tensor(Y[step])) ** 2).mean()
            (loss / size).backward()
            if number < size - 1:
                np.testing.assert_allclose(found[step], weight.detach(), rtol=1e-5, atol=1e-7)
            step += 1
        torch.nn.utils.clip_grad_norm_([weight], 0.5)
        optimizer.param_groups[0]["lr"] = 0.05 * (1 + np.cos(np.pi * (step - 1) / 18))
        optimizer.step()
        optimizer.zero_grad()
        np.testing.assert_allclose(found[step - 1], weight.detach(), rtol=1e-5, atol=1e-7)
    assert step == 18


class Regression(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))

    def training_step(self, batch, _):
        x, y = batch
        return ((x @ self.weight - y) ** 2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD([self.weight], lr=0.1, momentum=0.9)


def test_whole_groups_are_those_of_lightnings_callback(tmp_path):
    module = Regression()
    trainer = L.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        callbacks=[GradientAccumulationScheduler({0: 2, 1: 3, 2: 1})],
    )  # fmt: skip
    examples = TensorDataset(torch.tensor(X[:6]).flatten(0, 1), torch.tensor(Y[:6]).flatten())
    trainer.fit(module, DataLoader(examples, batch_size=8))
    config = OptimConfig(
        name="sgd", lr=0.1, momentum=0.9, weight_decay=0.0,
        accumulate_grad_batches=("2:1", "0:2", "1:3"),
    )  # fmt: skip
    found = in_jax(config, Fraction(6), rows=[*range(6)] * 3)
    np.testing.assert_allclose(found[-1], module.weight.detach(), rtol=1e-5)


def test_one_batch_an_update_is_a_run_without_it():
    plain = OptimConfig(lr=0.1, schedule="cosine")
    joined = OptimConfig(lr=0.1, schedule="cosine", accumulate_grad_batches=("1",))
    np.testing.assert_array_equal(in_jax(plain, Fraction(6)), in_jax(joined, Fraction(6)))


def test_a_running_average_moves_with_updates_alone():
    plan = Plan(examples=10, batch_size=4, epochs=2)  # steps 1 2 3 | 4 5
    optim = OptimConfig(ema_decay=0.9, accumulate_grad_batches=("2",))
    decay = average_decay(optim, plan)
    found = [round(float(decay(jnp.int32(step))), 3) for step in range(plan.total_steps)]
    assert found == [1.0, 0.9, 0.9, 1.0, 0.9]
    sizes = plan_joining(optim.joined_batches, plan.total_steps, Fraction(5, 2)).sizes
    assert sizes.tolist() == [0, 2, 1, 0, 2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["x"], "--optim.accumulate-grad-batches 'x' is neither a number of batches"),
        (["0"], "--optim.accumulate-grad-batches '0' is neither"),
        (["2:4", "2:8"], "--optim.accumulate-grad-batches 2:4 2:8 names an epoch twice"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(given, message):
    with pytest.raises(UserError, match=re.escape(message)):
        parse(["digits", "--optim.accumulate-grad-batches", *given])


@pytest.mark.slow
def test_a_run_with_joined_batches_resumes_to_the_same_bits_within_a_group(tmp_path, monkeypatch):
    from jaxvit.runs.recorder import Recorder

    def train(out: str) -> dict:
        args = [
            "digits", "--model.embed-dim", "16", "--model.num-layers", "1", "--epochs", "2",
            "--out", str(tmp_path / out), "--data.cache-dir", str(tmp_path / "cache"),
            "--log-every-steps", "1", "--checkpoint.every-steps", "7",
            "--optim.accumulate-grad-batches", "0:4", "1:3",
        ]  # fmt: skip
        assert train_jax.main(args) == 0
        return json.loads((tmp_path / out / "summary.json").read_text())

    whole, lines, log = train("whole"), iter(range(99)), Recorder._on_log

    def dies(self, step, metrics):
        if next(lines) == 16:
            raise KeyboardInterrupt
        return log(self, step, metrics)

    monkeypatch.setattr(Recorder, "_on_log", dies)
    with pytest.raises(KeyboardInterrupt):
        train("killed")
    monkeypatch.undo()
    assert train("killed")["params_sha256"] == whole["params_sha256"]
