"""The task that a configuration asks for."""

from fractions import Fraction

from jaxvit.config import Config
from jaxvit.data.datasets import Dataset
from jaxvit.models.transformer import make_model
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.tasks.classification import make_classification
from jaxvit.tasks.classification_report import draw_report
from jaxvit.training.task import Task


def make_task(config: Config, data: Dataset, total_steps: int, axis: str | None) -> Task:
    """The configured task.

    Args:
      config: of the run.
      data: its three splits.
      total_steps: of the run, for schedules.
      axis: the pmap axis, or None under jit; classification needs none.
    """
    model = make_model(config.model, len(data.class_names))
    steps_per_epoch = Fraction(len(data.train), config.batch_size)
    tx, schedule = make_optimizer(config.optim, total_steps, steps_per_epoch)
    task = make_classification(model, tx, schedule, config)
    return task._replace(draw=lambda results: draw_report(results, config, data))
