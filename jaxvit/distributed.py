"""Many processes: joining them, and agreeing. With one process everything here is free."""

import contextlib
import importlib.util
import os

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxvit.config import DistributedConfig, UserError


def connect(config: DistributedConfig) -> None:
    """Joins this process to the others of the run; to be called before JAX looks for devices.

    With a coordinator, by the three options. Without one, the tasks of a Slurm step (one process
    a device, as JAX takes them) and the hosts of a TPU pod are found by JAX itself; otherwise the
    process stays alone.

    Raises:
      UserError: the others cannot be joined.
    """
    if jax.distributed.is_initialized():
        return
    try:
        if config.coordinator is not None:
            jax.distributed.initialize(
                config.coordinator,
                config.num_processes,
                config.process_id,
                cluster_detection_method="deactivate",
            )
        elif int(os.environ.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in os.environ:
            jax.distributed.initialize(cluster_detection_method="slurm")
        elif importlib.util.find_spec("libtpu") and os.environ.get("JAX_PLATFORMS") != "cpu":
            with contextlib.suppress(ValueError):  # libtpu is here, but this is no TPU host
                jax.distributed.initialize()
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"this process cannot join the others of the run ({reason}): give every one the same "
            "--distributed.coordinator HOST:PORT, an address of process 0 that all can reach, "
            "the same --distributed.num-processes, and a --distributed.process-id of its own"
        ) from error


def is_main() -> bool:
    """Whether this process is the one that writes and speaks."""
    return jax.process_index() == 0


def wait_for_all(where: str) -> None:
    """Returns when every process has come here; `where` names the place."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)


def largest(number: int) -> int:
    """The largest of the processes' numbers; all of them have to ask."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.process_allgather(np.int32(number)).max())
