"""The learning-rate range test beside Lightning's, on equal weights and batches."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.tuner import Tuner
from torch.utils.data import DataLoader, TensorDataset

from jaxvit.commands.find_lr import with_rising_rate
from jaxvit.config import Config, DataConfig
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.tasks.classification import make_classification
from jaxvit.training.lr_finder import STEPS, Smoother, find_rate, rate_of, suggest
from jaxvit.training.state import create_state
from jaxvit.training.steps import make_train_step
from parity_tests.comparison import twins
from torch_ref import training_pipeline

BATCH = 8
CONFIG = Config(
    label_smoothing=0.1,
    data=DataConfig(name="folder", dir="x", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
)


class Twin(L.LightningModule):
    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model, self.lr = model, 1e-3
        self.targets = training_pipeline.SoftTargets(7, 0.1, None)
        self.raw: list[float] = []

    def training_step(self, batch, batch_idx):
        images, targets = self.targets(*batch)
        loss = torch.nn.functional.cross_entropy(self.model(images), targets)
        self.raw.append(float(loss))
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr)


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    """(ours, Lightning's results, Lightning's suggestion, its raw losses)."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, STEPS * BATCH)
    # Each class has its own mean, so that there is something to learn.
    means = rng.integers(60, 200, (7, 1, 1, 3))
    images = np.clip(means[labels] + rng.normal(0, 30, (len(labels), 16, 16, 3)), 0, 255)
    images = images.astype(np.uint8)
    torch_model, jax_model, params = twins(dropout=0.0)
    inputs = (torch.tensor(images).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", default_root_dir=tmp_path_factory.mktemp("lightning"),
        logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    twin = Twin(torch_model.train())
    loader = DataLoader(TensorDataset(inputs, torch.tensor(labels)), BATCH)
    theirs = Tuner(trainer).lr_find(twin, train_dataloaders=loader, num_training=STEPS)

    config = with_rising_rate(CONFIG)
    task = make_classification(jax_model, *make_optimizer(config.optim, STEPS), config)
    state = create_state(task, seed=0, pretrained=(params, {}))
    rows = np.split(np.arange(len(labels)), STEPS)
    batches = iter(
        {"image": jnp.asarray(images[i]), "label": jnp.asarray(labels[i], jnp.int32)} for i in rows
    )
    ours = find_rate(state, jax.jit(make_train_step(task, seed=0)), batches)
    return ours, theirs.results, theirs.suggestion(), twin.raw


def test_losses_and_suggestion_are_lightnings(findings):
    ours, theirs, suggestion, _ = findings
    assert len(ours.losses) == len(theirs["loss"]) == STEPS
    # Its first rate is 1e-8 itself; the rounding of two programs grows where the rate is high.
    np.testing.assert_allclose(ours.rates[1:], theirs["lr"][1:], rtol=1e-6)
    np.testing.assert_allclose(ours.losses[:80], theirs["loss"][:80], rtol=2e-5)
    assert ours.suggestion == pytest.approx(suggestion, rel=1e-6)
    assert ours.suggestion > 1e-7
    assert ours.losses[-1] > min(ours.losses)
    assert not ours.diverged


def test_lightnings_losses_are_smoothed_as_lightning_does(findings):
    _, theirs, _, raw = findings
    smoother = Smoother()
    found = [smoother.add(loss)[0] for loss in raw]
    np.testing.assert_allclose(found, theirs["loss"], rtol=1e-12)
    assert suggest(theirs["lr"], found, by_decade=False) == findings[2]


def test_the_test_ends_where_lightnings_does():
    losses = [2.0] * 30 + [1e3] * 10
    smoother, ours = Smoother(), []
    for loss in losses:
        smoothed, diverged = smoother.add(loss)
        ours.append(smoothed)
        if diverged:
            break
    callback = L.pytorch.tuner.lr_finder._LRCallback(STEPS)
    trainer = pytest.importorskip("unittest.mock").MagicMock()
    trainer.accumulate_grad_batches, trainer.fit_loop.batch_idx = 1, 0
    trainer.strategy.broadcast = lambda x: x
    trainer.should_stop = False
    for step, loss in enumerate(losses, 1):
        trainer.global_step = step
        callback.on_train_batch_end(trainer, None, torch.tensor(loss), None, 0)
        if trainer.should_stop:
            break
    assert len(ours) == len(callback.losses) < 40
    np.testing.assert_allclose(ours, callback.losses, rtol=1e-12)


def test_the_rising_rates_are_those_of_the_optimiser():
    _, schedule = make_optimizer(with_rising_rate(CONFIG).optim, STEPS)
    found = [float(schedule(step)) for step in range(STEPS)]
    np.testing.assert_allclose(found, [rate_of(step) for step in range(STEPS)], rtol=1e-6)
    assert found[-1] == pytest.approx(1.0, rel=1e-6)
    plain = with_rising_rate(CONFIG).optim
    for others in (
        {"schedule": "cosine", "warmup": 0.3},
        {"warmup_steps": 50},
        {"swa_start": 0.5, "swa_lr": 0.1},
        {"ema_decay": 0.9},
    ):
        other = replace(CONFIG, optim=replace(CONFIG.optim, **others))
        assert with_rising_rate(other).optim == plain


def test_the_suggestion_skips_both_ends_and_what_is_not_finite():
    rates = [rate_of(step) for step in range(40)]
    losses = [3.0 - 0.001 * step for step in range(40)]
    losses[5], losses[39] = 0.0, -50.0  # among the first ten, and the last
    losses[20:] = [loss - 1e-6 * (step - 20) for step, loss in enumerate(losses[20:], 20)]
    losses[15] = float("nan")
    assert suggest(rates, losses, by_decade=False) == rates[10]
    losses[30] -= 0.5
    assert suggest(rates, losses, by_decade=True) in (rates[29], rates[30])
    assert suggest(rates[:12], losses[:12], by_decade=False) is None
