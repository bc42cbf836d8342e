"""The machine that a measurement was made on: devices, processor and versions."""

import contextlib
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

VERSIONED = ("jaxvit", "jax", "jaxlib", "flax", "optax", "numpy", "grain", "orbax-checkpoint")


def describe_machine() -> dict[str, Any]:
    """The devices and versions to report with a measurement, as JSON can represent them."""
    devices = jax.devices()
    return {
        "device": {
            "platform": devices[0].platform,
            "kind": devices[0].device_kind,
            "count": len(devices),
            "processes": jax.process_count(),
        },
        "versions": {"python": platform.python_version()} | dict(_installed_versions()),
    }


def _installed_versions() -> Iterator[tuple[str, str]]:
    for name in VERSIONED:
        with contextlib.suppress(PackageNotFoundError):  # jaxvit may run without being installed
            yield name, version(name)


def cores() -> int:
    """The number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """The processor's name, or its architecture where the system does not report a name."""
    return _of_processor("model name") or platform.processor() or platform.machine()


def instructions() -> str:
    """The processor's instruction-set flags, as the system lists them.

    A virtual machine may hide the processor's name, but not these.
    """
    return _of_processor("flags") or _of_processor("Features") or platform.machine()


def _of_processor(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(": ")[2] for line in lines if line.startswith(field)), "")
