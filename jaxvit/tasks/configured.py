"""The task that a configuration asks for."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from jaxvit.config import Config, ModelConfig
from jaxvit.data.datasets import Dataset
from jaxvit.errors import UserError
from jaxvit.interop.starting_point import load_backbone
from jaxvit.models.configured import make_model
from jaxvit.models.variables import split
from jaxvit.objectives.metrics import RISES
from jaxvit.objectives.targets import balanced_weights
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.runtime.digest import sha256
from jaxvit.tasks.classification import make_classification
from jaxvit.tasks.classification_report import draw_report
from jaxvit.tasks.head_sweep import sweep_decay
from jaxvit.training.task import Task


def make_task(config: Config, data: Dataset, total_steps: int, axis: str | None) -> Task:
    """The configured task.

    Args:
      config: of the run.
      data: its three splits.
      total_steps: of the run, for schedules.
      axis: the pmap axis, over which batch statistics are computed, or None under jit.

    Raises:
      UserError: the pretrained weights cannot be read, or --monitor is no metric of the task.
    """
    if config.monitor is not None and config.monitor not in RISES:
        raise UserError(
            f"--monitor {config.monitor} is no metric that compares classifiers: give one of "
            f"{', '.join(RISES)}"
        )
    frozen = config.optim.freeze == "backbone"
    model = make_model(config.model, len(data.class_names), axis, frozen)
    steps_per_epoch = Fraction(len(data.train), config.batch_size)
    weights, notes, facts = None, (), {}
    if config.class_balanced:
        counts = np.bincount(data.train.labels, minlength=len(data.class_names))
        weights = balanced_weights(counts)
    if config.optim.weight_decay is None:
        sweep = sweep_decay(data, config, total_steps, steps_per_epoch, weights)
        config = replace(config, optim=replace(config.optim, weight_decay=sweep.decay))
        notes, facts = (str(sweep),), {"chosen_weight_decay": sweep.decay}
    tx, schedule = make_optimizer(config.optim, total_steps, steps_per_epoch)
    task = make_classification(model, tx, schedule, config, weights, axis)
    task = task._replace(draw=lambda results: draw_report(results, config, data), facts=facts)
    if config.init.weights is None:
        return task
    found = load_backbone(config, config.model.img_size)
    return task._replace(
        pretrained=_as_backbone(split(found.params), config.model),
        pretrained_sha256=sha256(found.params),
        notes=(*found.report.brief(), *notes),
    )


def _as_backbone(weights: tuple[dict, dict], config: ModelConfig) -> tuple[dict, dict]:
    """(params, extra) under the names that they have where an attention block is behind them."""
    if config.attention == "none":
        return weights
    params, extra = weights
    return {"backbone": params}, {name: {"backbone": part} for name, part in extra.items()}
