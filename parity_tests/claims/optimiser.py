"""Claim 4: AdamW steps on equal gradients agree, and jaxvit's defaults are PyTorch's."""

import inspect

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from jaxvit.config import OptimConfig
from jaxvit.models.layer_norm import EPSILON
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.optim.schedules import warmup_steps
from parity_tests.evidence import Evidence, Row, distance
from torch_ref import training_pipeline

TITLE = "Optimiser: 200 AdamW steps on equal gradients, with schedule, clipping and decay mask"
STEPS = 200
# Standard deviations of the parameters and gradients: as in a model, and larger.
SCALES = {"0.1": 0.1, "1": 1.0}
CONFIGS = {
    "lab": OptimConfig(),
    "cosine with warm-up": OptimConfig(schedule="cosine", warmup_steps=20),
    "clipped": OptimConfig(clip_norm=1.0),
    "decay on matrices only": OptimConfig(decay="matrices", weight_decay=0.5),
    "all combined": OptimConfig(
        schedule="cosine", warmup_steps=20, clip_norm=1.0, decay="matrices", weight_decay=0.05
    ),
}


def in_torch(config: OptimConfig, start: dict, gradients: dict, dtype: torch.dtype) -> dict:
    """The parameters after STEPS steps of torch.optim.AdamW."""
    params = {n: torch.nn.Parameter(torch.tensor(v, dtype=dtype)) for n, v in start.items()}
    spared = [p for n, p in params.items() if config.decay == "matrices" and n != "kernel"]
    groups = [
        {"params": [p for p in params.values() if not any(p is s for s in spared)]},
        {"params": spared, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.lr,
        weight_decay=config.weight_decay,
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: training_pipeline.rate_factor(
            step, STEPS, config.schedule, warmup_steps(config, STEPS)
        ),
    )
    for step in range(STEPS):
        for name, parameter in params.items():
            parameter.grad = torch.tensor(gradients[name][step], dtype=dtype)
        if config.clip_norm:
            torch.nn.utils.clip_grad_norm_(params.values(), config.clip_norm)
        optimizer.step()
        scheduler.step()
    return {name: p.detach().numpy() for name, p in params.items()}


def in_jax(config: OptimConfig, start: dict, gradients: dict) -> dict:
    """The parameters after STEPS steps of jaxvit's optimiser."""
    tx, _ = make_optimizer(config, STEPS)

    @jax.jit
    def run(params, gradients):
        def step(carry, grads):
            params, state = carry
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, tx.init(params)), gradients)[0][0]

    return jax.device_get(run(*jax.tree.map(jnp.asarray, (start, gradients))))


def measure(quick: bool) -> Evidence:
    rows = []
    for scale_name, scale in SCALES.items():
        rng = np.random.default_rng(0)
        start = {
            "kernel": rng.normal(scale=scale, size=(30, 20)).astype(np.float32),
            "bias": rng.normal(scale=scale, size=20).astype(np.float32),
        }
        gradients = {
            name: (scale * rng.normal(size=(STEPS, *value.shape))).astype(np.float32)
            for name, value in start.items()
        }
        for name, config in CONFIGS.items():
            ours = in_jax(config, start, gradients)
            theirs = in_torch(config, start, gradients, torch.float32)
            truth = in_torch(config, start, gradients, torch.float64)
            rows += [
                distance(f"{name}, deviation {scale_name}: {n}", ours[n], theirs[n], truth[n])
                for n in truth
            ]
    return Evidence(rows + defaults())


def defaults() -> list[Row]:
    """The defaults of each framework; the rows hold if jaxvit's equal PyTorch's."""
    adamw = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]).defaults
    optaxs = inspect.signature(optax.adamw).parameters
    config = OptimConfig()

    def row(name: str, torchs: float, theirs: float, ours: float) -> Row:
        return Row(
            f"default {name}",
            "jaxvit's value",
            float(ours),
            f"PyTorch's, {torchs:g}",
            ours == torchs,
            {"pytorch": float(torchs), "flax or optax": float(theirs)},
        )

    return [
        row(
            "weight decay",
            adamw["weight_decay"],
            optaxs["weight_decay"].default,
            config.weight_decay,
        ),
        row("b1", adamw["betas"][0], optaxs["b1"].default, config.b1),
        row("b2", adamw["betas"][1], optaxs["b2"].default, config.b2),
        row("eps", adamw["eps"], optaxs["eps"].default, config.eps),
        row(
            "LayerNorm eps",
            torch.nn.LayerNorm(1).eps,
            flax.linen.LayerNorm().epsilon,
            EPSILON,
        ),
        row(
            "GELU by tanh (1) or erf (0)",
            float(torch.nn.GELU().approximate == "tanh"),
            float(inspect.signature(flax.linen.gelu).parameters["approximate"].default),
            0.0,  # jaxvit always uses erf; claim 1 measures it
        ),
    ]
