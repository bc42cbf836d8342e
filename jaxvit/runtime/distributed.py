"""Several processes: connecting them, waiting for them, and agreeing on values.

With one process, none of these functions communicates.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxvit.config import DistributedConfig
from jaxvit.errors import UserError

# Set by srun for each task; a batch script outside srun has only some of them.
SLURM = (
    "SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"
)  # fmt: skip


def connect(
    config: DistributedConfig, timeout_sec: float = 300, say: Callable[[str], None] = print
) -> None:
    """Connects this process to the others of the run; call it before JAX initialises its devices.

    With config.coordinator, the three options of config are used. Without it, JAX detects the tasks
    of a Slurm step (it assigns one device to each process) and the hosts of a TPU pod; any other
    process runs alone. If process 0 answers but another process never connects, JAX aborts the
    process after five minutes.

    Args:
      config: of this process.
      timeout_sec: how long to wait for process 0, in seconds.
      say: called with one line that says what the process waits for.

    Raises:
      UserError: process 0 does not answer, or the processes cannot be joined.
    """
    if jax.distributed.is_initialized():
        return
    # JAX's preemption service would intercept SIGTERM, which then could not stop decoding.
    with contextlib.suppress(AttributeError):
        jax.config.update("jax_enable_preemption_service", False)
    try:
        if config.coordinator is not None:
            if config.process_id != 0:
                _wait_for(config.coordinator, timeout_sec, say)
            say(
                f"process {config.process_id} of {config.num_processes}: joining the others at "
                f"{config.coordinator}, for at most five minutes"
            )
            jax.distributed.initialize(
                config.coordinator,
                config.num_processes,
                config.process_id,
                cluster_detection_method="deactivate",
            )
        elif set(SLURM) <= os.environ.keys() and int(os.environ["SLURM_NTASKS"]) > 1:
            jax.distributed.initialize(cluster_detection_method="slurm")
        elif importlib.util.find_spec("libtpu") and os.environ.get("JAX_PLATFORMS") != "cpu":
            with contextlib.suppress(ValueError):  # libtpu is installed, but this is not a TPU host
                jax.distributed.initialize()
    except (RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"this process cannot join the others of the run ({reason}): give every one the same "
            "--distributed.coordinator HOST:PORT, an address of process 0 that all can reach, "
            "the same --distributed.num-processes, and a --distributed.process-id of its own"
        ) from error


def _wait_for(coordinator: str, timeout_sec: float, say: Callable[[str], None]) -> None:
    """Waits until process 0 accepts connections: without it, JAX would abort the process."""
    host, _, port = coordinator.rpartition(":")
    deadline = time.monotonic() + timeout_sec
    said = False
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            return
        except socket.gaierror as error:
            raise OSError(f"{host} is not the name of a host: {error.strerror}") from error
        except OSError as error:
            if time.monotonic() > deadline:
                raise OSError(f"{coordinator} does not answer: {error}") from error
            if not said:
                say(f"{coordinator} does not answer yet: waiting {timeout_sec:.0f} s for process 0")
                said = True
            time.sleep(0.5)


def is_main() -> bool:
    """Whether this is process 0, the only one that writes files and prints."""
    return jax.process_index() == 0


def wait_for_all(where: str) -> None:
    """A barrier: returns once every process has called it.

    Args:
      where: a name for the barrier, the same in every process.
    """
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)


def largest(number: int) -> int:
    """The maximum of the processes' numbers, as int32; every process must call it."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.process_allgather(np.int32(number)).max())


def check_same(what: dict[str, Any]) -> None:
    """Checks that all processes were started alike; otherwise they would train different models.

    Args:
      what: name -> value that JSON can represent and that must be the same in every process.

    Raises:
      UserError: values differ; raised in every process, with their names.
    """
    if jax.process_count() == 1:
        return
    digests = np.stack(
        [
            np.frombuffer(hashlib.sha256(json.dumps(value).encode()).digest()[:4], np.int32)[0]
            for value in what.values()
        ]
    )
    differ = (multihost_utils.process_allgather(digests) != digests).any(axis=0)
    agreed = [name for name, other in zip(what, differ, strict=True) if largest(int(other))]
    if agreed:
        raise UserError(
            f"the processes do not have the same {' and '.join(agreed)}: start all with the same "
            "command, except for --distributed.process-id, on the same files"
        )
