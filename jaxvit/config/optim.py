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


PERIODIC = ("step", "exponential", "cosine_restarts")


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
    # cosine ends at 0; cosine_restarts does so every few epochs or steps. step and exponential
    # multiply the rate by gamma every few epochs or steps, at once or evenly; multi_step does so
    # after the milestones, and plateau where validation gets no better. one_cycle rises over the
    # warm-up and falls to almost 0.
    schedule: Literal[
        "constant", "cosine", "cosine_restarts", "step", "exponential", "multi_step", "one_cycle",
        "plateau",
    ] = "constant"  # fmt: skip
    gamma: float = option(0.7, within(0, 1), positive)  # Factor of a drop of the rate.
    # Epochs between two drops or restarts.
    step_every_epochs: int | None = option(None, count(1, 10**6))
    # Steps between two drops or restarts.
    step_every_steps: int | None = option(None, count(1, 10**9))
    # Of plateau: validations without improvement that are waited for before the rate drops.
    patience: int = option(10, count(0, 10**6))
    # Of plateau: least improvement, as a share of the best value.
    threshold: float = option(1e-4, within(0, 1))
    # Of plateau: validations after a drop that count for nothing.
    cooldown: int = option(0, count(0, 10**6))
    # Of multi_step: the epochs after which the rate drops.
    milestones: tuple[int, ...] = ()
    restart_factor: int = option(1, count(1, 1000))  # Of cosine_restarts: a cycle over the last.
    # Of one_cycle: the peak rate over the first.
    cycle_start: float = option(25.0, within(1, 1e12))
    # Of one_cycle: the first rate over the last.
    cycle_end: float = option(1e4, within(1, 1e12))
    # Warm-up: the fraction of the steps over which the rate rises linearly from 0.
    warmup: float = option(0.0, within(0, 1))
    # Warm-up as a number of steps, which overrides the fraction.
    warmup_steps: int | None = option(None, count(0, 10**9))
    # Batches whose gradients give one update, as "4", or from epochs on that are counted from 0, as
    # "0:8" "4:4" "8:1". Steps, epochs and schedules count batches as without it.
    accumulate_grad_batches: tuple[str, ...] = ()
    # Limit on the gradient's global norm; 0 disables clipping.
    clip_norm: float = option(0.0, within(0, 1e6))
    # Limit on the absolute value of each element of the gradient; 0 disables it.
    clip_value: float = option(0.0, within(0, 1e6))
    # all: every parameter decays, as in the lab; matrices: biases, norms, the class token and the
    # positional embedding do not.
    decay: Literal["all", "matrices"] | None = "all"
    # Decay of the parameters' running average, used for evaluation; 0 disables it.
    ema_decay: float = option(0.0, within(0, 1, closed=False))
    # Stochastic weight averaging: the share of the epochs after which the weights at each epoch's
    # end are averaged, all alike, and used for evaluation; 0 disables it.
    swa_start: float = option(0.0, within(0, 1, closed=False))
    # The rate that stochastic weight averaging changes to; None leaves it to the schedule.
    swa_lr: float | None = option(None, positive)
    # Epochs over which the rate changes to --optim.swa-lr, along half a cosine; 0: at once.
    swa_anneal_epochs: int = option(10, count(0, 10**6))
    # Layer-wise rates: factor between the rates of a layer and of the layer above it. The norm and
    # the head have the rate itself, and the embeddings the lowest one.
    layer_decay: float = option(1.0, within(0, 1), positive)
    # The head's rate, as a multiple of the rate.
    head_lr: float = option(1.0, positive)
    # What is not trained: none; backbone (all but the head); or, as "6 layers", the embeddings and
    # the first 6 layers.
    freeze: str = option("none", part_to_freeze)

    @property
    def joined_batches(self) -> tuple[tuple[int, int], ...]:
        """(epoch, K) pairs of accumulate_grad_batches, by epoch."""
        pairs = (text.rpartition(":") for text in self.accumulate_grad_batches)
        return tuple(sorted((int(epoch or 0), int(number)) for epoch, _, number in pairs))

    @property
    def averages(self) -> bool:
        """Whether an average of the weights is kept."""
        return self.ema_decay > 0 or self.swa_start > 0

    def check(self) -> None:
        require(
            not self.nesterov or (self.name == "sgd" and self.momentum > 0),
            "--optim.nesterov is a form of SGD's momentum: add --optim.name sgd and a "
            "--optim.momentum above 0",
        )
        require(
            self.schedule not in PERIODIC
            or (self.step_every_epochs is None) != (self.step_every_steps is None),
            f"--optim.schedule {self.schedule} needs either --optim.step-every-epochs N or "
            "--optim.step-every-steps N: give exactly one of them",
        )
        for text in self.accumulate_grad_batches:
            require(
                re.fullmatch(r"([0-9]{1,6}:)?[1-9][0-9]{0,5}", text) is not None,
                f"--optim.accumulate-grad-batches {text!r} is neither a number of batches, such as "
                "4, nor EPOCH:BATCHES, such as 0:4",
            )
        first = [epoch for epoch, _ in self.joined_batches]
        require(
            len(set(first)) == len(first),
            f"--optim.accumulate-grad-batches {' '.join(self.accumulate_grad_batches)} names an "
            "epoch twice: give each once",
        )
        require(
            not (self.ema_decay and self.swa_start),
            f"--optim.ema-decay {self.ema_decay:g} and --optim.swa-start {self.swa_start:g} are "
            "two averages of the weights: set one of them to 0",
        )
        require(
            self.swa_lr is None or self.swa_start > 0,
            f"--optim.swa-lr {self.swa_lr or 0:g} is the rate of stochastic weight averaging: give "
            "--optim.swa-start too, such as 0.75, or leave it out",
        )
        require(
            not (self.clip_norm and self.clip_value),
            f"--optim.clip-norm {self.clip_norm:g} and --optim.clip-value {self.clip_value:g} both "
            "limit the gradient: set one of them to 0",
        )
        milestones = " ".join(map(str, self.milestones)) or "()"
        require(
            (self.schedule == "multi_step") == bool(self.milestones),
            f"--optim.schedule {self.schedule} does not fit --optim.milestones {milestones}: "
            "multi_step needs the epochs after which the rate drops, such as --optim.milestones 30 "
            "60, and the other schedules take none",
        )
        require(
            all(1 <= epochs <= 10**6 for epochs in self.milestones)
            and len(set(self.milestones)) == len(self.milestones),
            f"--optim.milestones {milestones} must be different numbers of epochs, from 1 to "
            "1000000",
        )
        require(
            self.schedule != "one_cycle" or bool(self.warmup or self.warmup_steps),
            "--optim.schedule one_cycle rises over the warm-up: give --optim.warmup, such as 0.3",
        )
