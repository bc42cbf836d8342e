"""Claim 4: AdamW and SGD on equal gradients agree, and jaxvit's defaults are PyTorch's."""

import inspect
import itertools
from fractions import Fraction

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

TITLE = (
    "Optimiser: 200 steps of AdamW and of SGD on equal gradients, with schedules, clipping, decay "
    "mask and rates by layer"
)
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
    "SGD": OptimConfig(name="sgd", lr=0.01, weight_decay=0.0),
    "SGD with decay": OptimConfig(name="sgd", lr=0.01, weight_decay=0.1),
    "SGD without momentum": OptimConfig(name="sgd", lr=0.01, momentum=0.0, weight_decay=0.1),
    "Nesterov's SGD, clipped, x .7 every 15 steps": OptimConfig(
        name="sgd", lr=0.01, nesterov=True, weight_decay=0.1, decay="matrices", clip_norm=1.0,
        schedule="step", step_every_steps=15,
    ),
    "AdamW, x .5 every 3 epochs": OptimConfig(schedule="step", gamma=0.5, step_every_epochs=3),
}  # fmt: skip
STEPS_PER_EPOCH = 8
# By layer: on a tree with the names of a Vision Transformer of two layers.
GROUPED = {
    "AdamW by layer": OptimConfig(layer_decay=0.6, weight_decay=0.5),
    "AdamW by layer and head": OptimConfig(
        layer_decay=0.75, head_lr=10.0, weight_decay=0.5, decay="matrices", clip_norm=1.0,
        schedule="cosine", warmup_steps=20,
    ),
    "SGD by layer and head": OptimConfig(
        name="sgd", lr=0.01, layer_decay=0.75, head_lr=10.0, weight_decay=0.1
    ),
}  # fmt: skip
# Of each parameter, the power of layer_decay that its rate has.
POWERS = {
    "cls_token": 3,
    "patch_embedding/proj/kernel": 3,
    "transformer_encoder/layers_0/norm1/scale": 2,
    "transformer_encoder/layers_1/mlp_0/kernel": 1,
    "norm/bias": 0,
    "head/kernel": 0,
}
FLAT = {"kernel": (30, 20), "bias": (20,)}


def rate_of(config: OptimConfig, name: str) -> float:
    """The peak rate of a parameter."""
    own = config.head_lr if name.startswith("head") else 1.0
    return config.lr * own * config.layer_decay ** POWERS.get(name, 0)


def in_torch(config: OptimConfig, start: dict, gradients: dict, dtype: torch.dtype) -> dict:
    """The parameters after STEPS steps of torch.optim.AdamW or SGD, one param group for each."""
    params = {n: torch.nn.Parameter(torch.tensor(v, dtype=dtype)) for n, v in start.items()}
    groups = [
        {"params": [parameter], "lr": rate_of(config, name)}
        | ({"weight_decay": 0.0} if config.decay == "matrices" and "kernel" not in name else {})
        for name, parameter in params.items()
    ]
    if config.name == "adamw":
        optimizer = torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)
    else:
        optimizer = torch.optim.SGD(
            groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov,
            weight_decay=config.weight_decay,
        )  # fmt: skip
    if config.schedule == "step":
        every = config.step_every_steps or config.step_every_epochs * STEPS_PER_EPOCH
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, every, config.gamma)
    else:
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
    tx, _ = make_optimizer(config, STEPS, Fraction(STEPS_PER_EPOCH))
    start, gradients = nested(start), nested(gradients)

    @jax.jit
    def run(params, gradients):
        def step(carry, grads):
            params, state = carry
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, tx.init(params)), gradients)[0][0]

    after = jax.device_get(run(*jax.tree.map(jnp.asarray, (start, gradients))))
    return {
        "/".join(entry.key for entry in path): leaf
        for path, leaf in jax.tree.leaves_with_path(after)
    }


def nested(flat: dict) -> dict:
    """{"norm/bias": x} -> {"norm": {"bias": x}}."""
    tree = {}
    for name, value in flat.items():
        *above, last = name.split("/")
        at = tree
        for key in above:
            at = at.setdefault(key, {})
        at[last] = value
    return tree


def measure(quick: bool) -> Evidence:
    rows = []
    grouped = {name: (30, 20) if "kernel" in name else (20,) for name in POWERS}
    for (scale_name, scale), (shapes, configs) in itertools.product(
        SCALES.items(), ((FLAT, CONFIGS), (grouped, GROUPED))
    ):
        rng = np.random.default_rng(0)
        start = {
            name: rng.normal(scale=scale, size=shape).astype(np.float32)
            for name, shape in shapes.items()
        }
        gradients = {
            name: (scale * rng.normal(size=(STEPS, *value.shape))).astype(np.float32)
            for name, value in start.items()
        }
        for name, config in configs.items():
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
