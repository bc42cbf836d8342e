"""The optimiser, its schedule, and what it trains."""

import re
from dataclasses import dataclass
from typing import Literal

from jaxvit.config.checks import count, option, positive, require, within


def part_to_freeze(option: str, value: str) -> None:
    """One of "none", "backbone" and "N layers"."""
    require(
        value in ("none", "backbone") or frozen_layers(value) is not None,
        f"--{option} {value!r} names no part of the model: give none, backbone, or a number of "
        f'layers, as in --{option} "6 layers"',
    )


def frozen_layers(freeze: str) -> int | None:
    """N of "N layers", or None for anything else."""
    found = re.fullmatch(r"([0-9]{1,9}) layers?", freeze)
    return int(found[1]) if found else None


@dataclass(frozen=True)
class OptimConfig:
    """The optimiser, its schedule, and what it trains."""

    name: Literal["adamw", "sgd"] = "adamw"  # AdamW, or SGD with momentum, both as in PyTorch.
    lr: float = option(1e-3, positive)  # Peak learning rate.
    # Weight decay; multiplied by the learning rate. AdamW's is decoupled; SGD's is added to the
    # gradient, before the momentum. None, which needs --data.cache-features, tries several and
    # takes that of the lowest validation loss.
    weight_decay: float | None = option(0.01, within(0, 1e6))
    # Decay of the gradient's running mean.
    b1: float = option(0.9, within(0, 1, closed=False))
    # Decay of the squared gradient's running mean.
    b2: float = option(0.999, within(0, 1, closed=False))
    eps: float = option(1e-8, positive)  # Added to the root of the second moment.
    momentum: float = option(0.9, within(0, 1, closed=False))  # Of SGD; 0 for none.
    nesterov: bool = False  # Nesterov's momentum for SGD.
    # cosine ends at 0; step multiplies the rate by gamma every few epochs or steps.
    schedule: Literal["constant", "cosine", "step"] = "constant"
    gamma: float = option(0.7, within(0, 1), positive)  # Factor of --optim.schedule step.
    # Epochs between two such factors.
    step_every_epochs: int | None = option(None, count(1, 10**6))
    # Steps between two such factors.
    step_every_steps: int | None = option(None, count(1, 10**9))
    # Warm-up: the fraction of the steps over which the rate rises linearly from 0.
    warmup: float = option(0.0, within(0, 1))
    # Warm-up as a number of steps, which overrides the fraction.
    warmup_steps: int | None = option(None, count(0, 10**9))
    # Limit on the gradient's global norm; 0 disables clipping.
    clip_norm: float = option(0.0, within(0, 1e6))
    # all: every parameter decays, as in the lab; matrices: biases, norms, the class token and the
    # positional embedding do not.
    decay: Literal["all", "matrices"] | None = "all"
    # Decay of the parameters' running average, used for evaluation; 0 disables it.
    ema_decay: float = option(0.0, within(0, 1, closed=False))
    # Layer-wise rates: factor between the rates of a layer and of the layer above it. The norm and
    # the head have the rate itself, and the embeddings the lowest one.
    layer_decay: float = option(1.0, within(0, 1), positive)
    # The head's rate, as a multiple of the rate.
    head_lr: float = option(1.0, positive)
    # What is not trained: none; backbone (all but the head); or, as "6 layers", the embeddings and
    # the first 6 layers.
    freeze: str = option("none", part_to_freeze)

    def check(self) -> None:
        require(
            not self.nesterov or (self.name == "sgd" and self.momentum > 0),
            "--optim.nesterov is a form of SGD's momentum: add --optim.name sgd and a "
            "--optim.momentum above 0",
        )
        require(
            self.schedule != "step"
            or (self.step_every_epochs is None) != (self.step_every_steps is None),
            "--optim.schedule step needs either --optim.step-every-epochs N or "
            "--optim.step-every-steps N: give exactly one of them",
        )
