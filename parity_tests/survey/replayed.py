"""A GAN and a diffusion model in three programs, step by step: JAX, PyTorch float32 and float64.

All start from the same weights and take the same batches and noise, which JAX's step draws.
"""

import copy
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

from jaxvit.config import (
    Config,
    DataConfig,
    DiffusionConfig,
    ModelConfig,
    OptimConfig,
    without_foreign_options,
)
from jaxvit.data.decoded import Dataset
from jaxvit.data.loader import train_batches
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.tasks.generation_diffusion import make_diffusion
from jaxvit.tasks.generation_gan import make_gan
from jaxvit.training.state import create_state
from jaxvit.training.steps import make_train_step, step_keys
from jaxvit.training.task import Task
from parity_tests.instance_discrimination.replayed import photographs
from parity_tests.survey.generators import (
    CHANNELS,
    CLASSES,
    SIZE,
    UNET,
    gan_twins,
    ported,
    unet_twins,
    vector,
)
from torch_ref.survey.adversarial import adversarial_step
from torch_ref.survey.adversarial import make_optimizer as make_adam
from torch_ref.survey.ddpm import ddpm_step
from torch_ref.survey.diffusion import Diffusion

PROGRAMS = ("jax", "torch32", "torch64")
TYPES = {"torch32": torch.float32, "torch64": torch.float64}
HALF = (0.5,) * CHANNELS
GAN = Config(
    method="gan",
    batch_size=32,
    label_smoothing=0.0,
    data=DataConfig(name="flowers17", dir="unused", mean=HALF, std=HALF),
    model=without_foreign_options(
        ModelConfig(
            name="dcgan", img_size=SIZE, in_channels=CHANNELS, width=8, z_dim=12, conditional=True
        )
    ),
    optim=OptimConfig(lr=2e-4, b1=0.5, weight_decay=0.0),
)
DDPM = replace(
    GAN,
    method="diffusion",
    model=without_foreign_options(
        ModelConfig(name="unet", img_size=SIZE, in_channels=CHANNELS, conditional=True, **UNET)
    ),
    diffusion=DiffusionConfig(steps=200, hide_class=0.2),
    optim=OptimConfig(lr=1e-3, weight_decay=0.0),
)


class Run(NamedTuple):
    """By quantity and program: a number for each step, or a vector."""

    values: dict[str, dict[str, np.ndarray]]


def labelled_photographs() -> Dataset:
    data = photographs(64, SIZE)
    labels = (np.arange(64) % CLASSES).astype(np.int32)
    split = data.train.__class__(data.train.pixels, data.train.rows, labels, data.train.names)
    return Dataset(tuple("abcde"), split, split, split)


@cache
def train_gan(steps: int) -> Run:
    """Losses of both networks, and their final parameters and running statistics."""
    networks = gan_twins()
    (_, generator, _), (_, discriminator, _) = networks
    tx, schedule = make_optimizer(GAN.optim, steps)
    task = make_gan(generator, discriminator, tx, schedule, GAN)
    names = ("generator", "discriminator")
    start = {name: variables for name, (_, _, variables) in zip(names, networks, strict=True)}
    given = tuple({name: of[part] for name, of in start.items()} for part in ("params",))
    extra = {name: {"batch_stats": of["batch_stats"]} for name, of in start.items()}
    state = create_state(task, GAN.seed, pretrained=(given[0], extra))
    twins = {
        program: [copy.deepcopy(net).to(dtype).train() for net, _, _ in networks]
        for program, dtype in TYPES.items()
    }
    optimizers = {
        program: tuple(make_adam(net, GAN.optim.lr) for net in nets)
        for program, nets in twins.items()
    }
    losses = {name: {program: [] for program in PROGRAMS} for name in names}

    def torch_step(program: str, inputs: dict) -> None:
        real, z = as_torch(inputs["images"], program), as_torch(inputs["z"], program)
        labels = torch.tensor(np.array(inputs["labels"])).long()
        found = adversarial_step(*twins[program], optimizers[program], real, z, labels)
        for name, loss in zip(names, found, strict=True):
            losses[name][program].append(loss)

    def jax_step(metrics: dict) -> None:
        for name in names:
            losses[name]["jax"].append(float(metrics[f"loss/{name}"]))

    state = _run(task, GAN, state, steps, torch_step, jax_step)
    values = {f"losses of the {name}": each for name, each in losses.items()}
    for number, name in enumerate(names):
        states = {program: ported(nets[number].state_dict()) for program, nets in twins.items()}
        states["jax"] = {"params": state.params[name], **state.extra[name]}
        for part, what in (("params", "parameters"), ("batch_stats", "statistics")):
            values[f"{what} of the {name}"] = {
                program: vector(of[part]) for program, of in states.items()
            }
    return Run(_arrays(values))


@cache
def train_ddpm(steps: int) -> Run:
    """Losses, and the final parameters."""
    net, unet, params = unet_twins()
    tx, schedule = make_optimizer(DDPM.optim, steps)
    task = make_diffusion(unet, tx, schedule, DDPM)
    state = create_state(task, DDPM.seed, pretrained=(params, {}))
    twins = {program: copy.deepcopy(net).to(dtype) for program, dtype in TYPES.items()}
    optimizers = {
        program: torch.optim.Adam(twin.parameters(), DDPM.optim.lr)
        for program, twin in twins.items()
    }
    diffusion = Diffusion(DDPM.diffusion.steps)
    losses = {program: [] for program in PROGRAMS}

    def torch_step(program: str, inputs: dict) -> None:
        images, noise = (as_torch(inputs[name], program) for name in ("images", "noise"))
        t, labels = (torch.tensor(np.array(inputs[name])).long() for name in ("t", "labels"))
        losses[program].append(
            ddpm_step(twins[program], optimizers[program], diffusion, images, t, noise, labels)
        )

    state = _run(
        task, DDPM, state, steps, torch_step, lambda m: losses["jax"].append(float(m["loss"]))
    )
    final = {
        program: vector(ported(twin.state_dict())["params"]) for program, twin in twins.items()
    }
    final["jax"] = vector(state.params)
    return Run(_arrays({"losses": losses, "parameters": final}))


def as_torch(array, program: str) -> torch.Tensor:
    """NumPy or JAX to the program's dtype; images to (N, C, H, W)."""
    tensor = torch.tensor(np.array(array), dtype=TYPES[program])
    return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor


def _run(task: Task, config: Config, state, steps: int, torch_step, jax_step):
    step = jax.jit(make_train_step(task, seed=config.seed))
    prepare = jax.jit(lambda batch, number: task.prepare(step_keys(config.seed, number)[0], batch))
    batches = train_batches(
        labelled_photographs().train, config.batch_size, config.seed, with_index=True
    )
    for number, batch in zip(range(steps), batches, strict=False):
        inputs = jax.device_get(prepare(batch, jnp.int32(number)))
        for program in TYPES:
            torch_step(program, inputs)
        state, metrics = step(state, batch)
        jax_step(metrics)
    return state


def _arrays(values: dict) -> dict[str, dict[str, np.ndarray]]:
    return {
        name: {program: np.asarray(each, np.float64) for program, each in of.items()}
        for name, of in values.items()
    }
