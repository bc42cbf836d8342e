"""The CPU as several JAX devices, for work whose parts need nothing of each other."""

import contextlib
import os

import jax

from jaxvit.runtime.machine import cores

MOST = 4  # devices; each holds a copy of the weights


def divide_cpu(wholly: bool = False) -> None:
    """Makes the CPU a JAX device for each core, at most MOST, unless JAX_NUM_CPU_DEVICES is set.

    Programs of one core each, side by side, lose no time in waiting for the other core after every
    operation. Once JAX has started its devices, they stay as they are.

    Args:
      wholly: leaves a CPU of more than MOST cores as it is, for programs that use one core each.
    """
    if "JAX_NUM_CPU_DEVICES" not in os.environ and not (wholly and cores() > MOST):
        with contextlib.suppress(RuntimeError):  # started
            jax.config.update("jax_num_cpu_devices", min(cores(), MOST))
