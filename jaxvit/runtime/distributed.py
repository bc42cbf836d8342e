"""Many processes: joining them, and agreeing. With one process everything here is free."""

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

# What srun sets for each task; a batch script outside of srun has only some of them.
SLURM = (
    "SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"
)  # fmt: skip


def connect(
    config: DistributedConfig, timeout_sec: float = 300, say: Callable[[str], None] = print
) -> None:
    """Joins this process to the others of the run; to be called before JAX looks for devices.

    With a coordinator, by the three options. Without one, the tasks of a Slurm step (one process
    a device, as JAX takes them) and the hosts of a TPU pod are found by JAX itself; otherwise the
    process stays alone. Where process 0 answers but another never comes, JAX itself ends the
    process after five minutes.

    Args:
      config: of this process.
      timeout_sec: how long to wait for process 0.
      say: told in one line what is waited for.

    Raises:
      UserError: process 0 does not answer, or the processes cannot be joined.
    """
    if jax.distributed.is_initialized():
        return
    # Otherwise JAX keeps SIGTERM to itself, and decoding or scoring could not be stopped by it.
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
            with contextlib.suppress(ValueError):  # libtpu is here, but this is no TPU host
                jax.distributed.initialize()
    except (RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"this process cannot join the others of the run ({reason}): give every one the same "
            "--distributed.coordinator HOST:PORT, an address of process 0 that all can reach, "
            "the same --distributed.num-processes, and a --distributed.process-id of its own"
        ) from error


def _wait_for(coordinator: str, timeout_sec: float, say: Callable[[str], None]) -> None:
    """Process 0 may be started later; but JAX's own answer to none is to abort."""
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


def check_same(what: dict[str, Any]) -> None:
    """Refuses processes that were started differently: they would train on without a word.

    Args:
      what: by name, what JSON can write and has to be the same in every process.

    Raises:
      UserError: in every process, naming what differs.
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
            "command, but for --distributed.process-id, on the same files"
        )
