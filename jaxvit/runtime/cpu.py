"""The CPU as several JAX devices, for work whose parts need nothing of each other."""

import contextlib
import os

import jax

from jaxvit.runtime.machine import cores

MOST = 4  # devices; each holds a copy of the weights


def divide_cpu(one_per_core: bool = False) -> None:
    """Makes the CPU a JAX device for each core, at most MOST, unless JAX_NUM_CPU_DEVICES is set.

    Programs of one core each, side by side, do not wait for the other core after every operation.
    Once JAX has started its devices, they stay as they are.

    Args:
      one_per_core: a CPU of more than MOST cores stays one device, which uses all of them.
    """
    if "JAX_NUM_CPU_DEVICES" not in os.environ and not (one_per_core and cores() > MOST):
        with contextlib.suppress(RuntimeError):  # started
            jax.config.update("jax_num_cpu_devices", min(cores(), MOST))
