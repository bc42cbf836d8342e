"""Claim 14: rates are torch.optim.lr_scheduler's, averages swa_utils', and stops Lightning's."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import lightning
import numpy as np
import torch
from torch.optim import lr_scheduler as theirs
from torch.optim import swa_utils

from jaxvit.config import OptimConfig
from jaxvit.optim.averaging import update_average
from jaxvit.optim.plateau import plateau_drops
from jaxvit.optim.schedules import make_schedule
from jaxvit.training.early_stopping import stops_after
from jaxvit.training.fit import Plan, average_decay
from parity_tests.evidence import Evidence, Row, at_most, equal

TITLE = "Schedules: torch.optim.lr_scheduler over 500 steps, averages, plateaus and early stops"
STEPS, STEPS_PER_EPOCH, LR = 500, 10, 0.3
LIMIT = 1e-6  # relative to the rate itself; for optax's cosine, which ends at 0, to the peak
# Name -> (our options, PyTorch's scheduler). Epochs are of STEPS_PER_EPOCH steps.
SCHEDULES = {
    "constant": ({"schedule": "constant"}, lambda o: theirs.ConstantLR(o, 1.0)),
    "cosine": ({"schedule": "cosine"}, lambda o: theirs.CosineAnnealingLR(o, STEPS)),
    "cosine, restarted every 40 steps": (
        {"schedule": "cosine_restarts", "step_every_steps": 40},
        lambda o: theirs.CosineAnnealingWarmRestarts(o, 40),
    ),
    "cosine, restarted after 3, 6, 12, ... epochs": (
        {"schedule": "cosine_restarts", "step_every_epochs": 3, "restart_factor": 2},
        lambda o: theirs.CosineAnnealingWarmRestarts(o, 30, 2),
    ),
    "x .7 every 15 steps": (
        {"schedule": "step", "step_every_steps": 15},
        lambda o: theirs.StepLR(o, 15, 0.7),
    ),
    "x .1 after epochs 3, 20 and 31": (
        {"schedule": "multi_step", "milestones": (20, 3, 31), "gamma": 0.1},
        lambda o: theirs.MultiStepLR(o, [30, 200, 310], 0.1),
    ),
    "x .99 a step": (
        {"schedule": "exponential", "step_every_steps": 1, "gamma": 0.99},
        lambda o: theirs.ExponentialLR(o, 0.99),
    ),
    "x .8 in an epoch, evenly": (
        {"schedule": "exponential", "step_every_epochs": 1, "gamma": 0.8},
        lambda o: theirs.ExponentialLR(o, 0.8 ** (1 / STEPS_PER_EPOCH)),
    ),
    "one cycle": (
        {"schedule": "one_cycle", "warmup": 0.3},
        lambda o: theirs.OneCycleLR(o, LR, total_steps=STEPS, cycle_momentum=False),
    ),
    "one cycle, other ends": (
        {"schedule": "one_cycle", "warmup": 0.1, "cycle_start": 10.0, "cycle_end": 100.0},
        lambda o: theirs.OneCycleLR(
            o, LR, total_steps=STEPS, pct_start=0.1, div_factor=10, final_div_factor=100,
            cycle_momentum=False,
        ),
    ),
}  # fmt: skip


def an_optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)


def rates_in_torch(make) -> np.ndarray:
    optimizer = an_optimizer()
    scheduler, rates = make(optimizer), []
    for step in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < STEPS - 1:  # OneCycleLR refuses a step beyond its last
            scheduler.step()
    return np.array(rates)


def schedule_rows() -> list[Row]:
    rows = []
    for name, (options, make) in SCHEDULES.items():
        schedule = make_schedule(OptimConfig(lr=LR, **options), STEPS, Fraction(STEPS_PER_EPOCH))
        ours = np.asarray(jax.jit(jax.vmap(schedule))(jnp.arange(STEPS)), np.float64)
        expected = rates_in_torch(make)
        size = LR if name == "cosine" else expected
        difference = float(np.max(np.abs(ours - expected) / size))
        rows.append(at_most(name, "largest relative difference of a rate", difference, LIMIT))
    return rows


def averaging_rows() -> list[Row]:
    """Stochastic weight averaging: the rate, and the average of weights that wander."""
    rows, epochs = [], STEPS // STEPS_PER_EPOCH
    for start, anneal in ((0.75, 10), (0.3, 1), (0.5, 0)):
        options = {"swa_start": start, "swa_lr": 0.05, "swa_anneal_epochs": anneal}
        config = OptimConfig(lr=LR, schedule="step", gamma=0.7, step_every_epochs=5, **options)
        schedule = make_schedule(config, STEPS, Fraction(STEPS_PER_EPOCH))
        decay = average_decay(config, Plan(STEPS_PER_EPOCH, 1, epochs))
        ours = np.asarray(jax.jit(jax.vmap(schedule))(jnp.arange(STEPS)), np.float64)
        optimizer, first = an_optimizer(), int(start * epochs)
        before, averaged, expected = theirs.StepLR(optimizer, 5, 0.7), None, []
        model, rng = torch.nn.Linear(1, 1, bias=False), np.random.default_rng(0)
        average, worst = jnp.float32(0), 0.0
        for epoch in range(epochs):
            if epoch == first:
                scheduler = swa_utils.SWALR(optimizer, 0.05, anneal_epochs=anneal)
                averaged = swa_utils.AveragedModel(model)
            expected += [optimizer.param_groups[0]["lr"]] * STEPS_PER_EPOCH
            optimizer.step()
            (before if averaged is None else scheduler).step()
            for step in range(epoch * STEPS_PER_EPOCH, (epoch + 1) * STEPS_PER_EPOCH):
                weight = np.float32(1 + rng.random())
                average = update_average(average, jnp.float32(weight), decay(jnp.int32(step)))
            if averaged is not None:
                model.weight.data.fill_(float(weight))
                averaged.update_parameters(model)
                there = averaged.module.weight.item()
                worst = max(worst, abs(float(average) - there) / there)
        name = f"stochastic weight averaging from {start} of {epochs} epochs, {anneal} to anneal"
        difference = float(np.max(np.abs(ours - expected) / expected))
        rows += [
            at_most(name, "largest relative difference of a rate", difference, LIMIT),
            at_most(name, "largest relative difference of the average", worst, LIMIT),
        ]
    return rows


def random_validations(seed: int) -> list[float]:
    """A metric that wanders, rests and improves, between .05 and about 1.5."""
    rng = np.random.default_rng(seed)
    wander = np.cumsum(0.1 * rng.normal(size=120) * rng.choice([0, 1], 120))
    return np.clip(0.5 + wander, 0.05, None).tolist()


def plateau_rows() -> list[Row]:
    """The rate after each of 120 validations, for each setting on eight random histories."""
    rows = []
    for rises in (True, False):
        for patience, threshold, cooldown in ((0, 0.0, 0), (3, 0.0, 0), (2, 0.05, 0), (1, 0.01, 4)):
            differing = drops = 0
            for seed in range(8):
                values, optimizer = random_validations(seed), an_optimizer()
                scheduler = theirs.ReduceLROnPlateau(
                    optimizer, "max" if rises else "min", 0.5, patience, threshold,
                    cooldown=cooldown, eps=0.0,
                )  # fmt: skip
                for number, value in enumerate(values, 1):
                    scheduler.step(value)
                    drops = plateau_drops(values[:number], rises, patience, threshold, cooldown)
                    differing += optimizer.param_groups[0]["lr"] != LR * 0.5**drops
            what = "rises" if rises else "falls"
            rows.append(
                equal(
                    f"plateau of a metric that {what}, patience {patience}, threshold {threshold}, "
                    f"cooldown {cooldown}",
                    f"differing rates of 960 (the last history drops {drops} times)",
                    differing,
                )
            )
    return rows


def stopping_rows() -> list[Row]:
    """The validation that ends a run, for each setting on eight random histories."""
    rows = []
    for rises in (True, False):
        for patience, min_delta in ((1, 0.0), (3, 0.0), (4, 0.05)):
            differing = 0
            for seed in range(8):
                values = random_validations(seed)
                callback = lightning.pytorch.callbacks.EarlyStopping(
                    "x", min_delta, patience, mode="max" if rises else "min"
                )
                expected = None
                for number, value in enumerate(values, 1):
                    if callback._evaluate_stopping_criteria(torch.tensor(value))[0]:
                        expected = number
                        break
                rounded = [float(torch.tensor(value)) for value in values]  # Lightning's float32
                differing += stops_after(rounded, rises, patience, min_delta) != expected
            what = "rises" if rises else "falls"
            name = f"early stopping, {what}, patience {patience}, least improvement {min_delta}"
            rows.append(equal(name, "differing ends of 8", differing))
    return rows


def measure(quick: bool) -> Evidence:
    return Evidence(schedule_rows() + averaging_rows() + plateau_rows() + stopping_rows())
