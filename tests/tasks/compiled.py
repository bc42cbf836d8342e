"""A task whose functions are compiled each as a whole, and not operation by operation."""

import jax

from jaxvit.training.task import Task


def compiled(task: Task) -> Task:
    return task._replace(
        init=jax.jit(task.init),
        prepare=jax.jit(task.prepare),
        phases=tuple(phase._replace(loss=jax.jit(phase.loss)) for phase in task.phases),
    )
