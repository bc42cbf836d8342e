"""The task that a configuration asks for."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np

from jaxvit.config import Config
from jaxvit.data.decoded import Dataset
from jaxvit.errors import UserError
from jaxvit.interop.starting_point import load_backbone, seen_before
from jaxvit.models.configured import make_discriminator, make_generator, make_model
from jaxvit.models.variables import split
from jaxvit.objectives.monitors import comparable
from jaxvit.objectives.targets import balanced_weights
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.runtime.digest import sha256
from jaxvit.tasks.classification import make_classification
from jaxvit.tasks.classification_report import draw_report
from jaxvit.tasks.generation import check_enough
from jaxvit.tasks.generation_diffusion import make_diffusion
from jaxvit.tasks.generation_gan import make_gan
from jaxvit.tasks.generation_report import draw_generation
from jaxvit.tasks.head_sweep import sweep_decay
from jaxvit.tasks.instance_discrimination import make_instance_discrimination
from jaxvit.tasks.representation_report import draw_representation
from jaxvit.training.task import Task

CHOSEN = "chosen_weight_decay"  # of Task.facts


def make_task(
    config: Config,
    data: Dataset,
    total_steps: int,
    axis: str | None,
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> Task:
    """The configured task.

    Args:
      config: of the run.
      data: its three splits.
      total_steps: of the run, for schedules.
      axis: the pmap axis, over which batch statistics are computed, or None under jit.
      facts: those of the run to be resumed, which are not found anew: where candidates are almost
        equal, another machine or another number of epochs would choose another.

    Raises:
      UserError: the pretrained weights cannot be read, or --monitor is no metric of the task.
    """
    metrics = comparable(config.method, config.data.labels)
    if config.monitor is not None and config.monitor not in metrics:
        raise UserError(
            f"--monitor {config.monitor} is no metric that compares states of this method: give "
            f"one of {', '.join(metrics)}"
        )
    chosen = facts.get(CHOSEN, config.optim.weight_decay)
    config = replace(config, optim=replace(config.optim, weight_decay=chosen))
    task = MAKE[config.method](config, data, total_steps, axis)
    if CHOSEN in facts:
        notes = (*task.notes, f"weight decay {chosen:g}, as before")
        task = task._replace(facts=facts, notes=notes)
    if config.init.weights is None:
        return task
    found = load_backbone(config, config.model.img_size)
    return task._replace(
        pretrained=_as_backbone(split(found.params), config),
        pretrained_sha256=sha256(found.params),
        pretrained_table=str(found.report),
        notes=(*found.report.brief(), *task.notes, *filter(None, [seen_before(config, data)])),
    )


def _classification(config: Config, data: Dataset, total_steps: int, axis: str | None) -> Task:
    frozen = config.optim.freeze == "backbone"
    model = make_model(config.model, len(data.class_names), axis, frozen)
    steps_per_epoch = _steps_per_epoch(config, data)
    weights, notes, facts = None, (), {}
    if config.class_balanced:
        counts = np.bincount(data.train.labels, minlength=len(data.class_names))
        weights = balanced_weights(counts)
    if config.optim.weight_decay is None:
        sweep = sweep_decay(data, config, total_steps, steps_per_epoch, weights)
        config = replace(config, optim=replace(config.optim, weight_decay=sweep.decay))
        notes, facts = (str(sweep),), {CHOSEN: sweep.decay}
    tx, schedule = make_optimizer(config.optim, total_steps, steps_per_epoch)
    return make_classification(model, tx, schedule, config, weights, axis)._replace(
        draw=lambda results: draw_report(results, config, data), facts=facts, notes=notes
    )


def _instance_discrimination(
    config: Config, data: Dataset, total_steps: int, axis: str | None
) -> Task:
    backbone = make_model(config.model, config.instance.z_dim)
    tx, schedule = make_optimizer(config.optim, total_steps, _steps_per_epoch(config, data))
    return make_instance_discrimination(backbone, tx, schedule, config, data, axis)._replace(
        draw=lambda results: draw_representation(results, config, data)
    )


def _gan(config: Config, data: Dataset, total_steps: int, axis: str | None) -> Task:
    check_enough(data)
    classes = len(data.class_names)
    generator = make_generator(config.model, classes, 0, axis)
    discriminator = make_discriminator(config.model, classes, axis)
    tx, schedule = make_optimizer(config.optim, total_steps, _steps_per_epoch(config, data))
    return make_gan(generator, discriminator, tx, schedule, config, axis)._replace(
        draw=lambda results: draw_generation(results, config, data)
    )


def _diffusion(config: Config, data: Dataset, total_steps: int, axis: str | None) -> Task:
    check_enough(data)
    unet = make_generator(config.model, len(data.class_names), config.diffusion.steps)
    tx, schedule = make_optimizer(config.optim, total_steps, _steps_per_epoch(config, data))
    return make_diffusion(unet, tx, schedule, config)._replace(
        draw=lambda results: draw_generation(results, config, data)
    )


MAKE = {
    "classification": _classification,
    "instance_discrimination": _instance_discrimination,
    "gan": _gan,
    "diffusion": _diffusion,
}


def _steps_per_epoch(config: Config, data: Dataset) -> Fraction:
    return Fraction(len(data.train), config.batch_size)


def _as_backbone(weights: tuple[dict, dict], config: Config) -> tuple[dict, dict]:
    """(params, extra) under the names that they have where another part is behind them."""
    if config.has_head and config.model.attention == "none":
        return weights
    params, extra = weights
    return {"backbone": params}, {name: {"backbone": part} for name, part in extra.items()}
