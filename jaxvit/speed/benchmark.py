"""The contest: each contestant in a process of its own, in turns, and what came of it."""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jaxvit.config import IMAGENET_MEAN, IMAGENET_STD
from jaxvit.errors import UserError
from jaxvit.speed.workload import Workload

JAX, TORCH = "jaxvit.speed.contestant", "torch_ref.speed"
# Name -> the module that runs it and the options it is given.
CONTESTANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "jax": (JAX, {}),
    "jax-sharded": (JAX, {"sharded": True}),
    "torch-eager": (TORCH, {}),
    "torch-sdpa": (TORCH, {"sdpa": True}),
    "torch-channels-last": (TORCH, {"sdpa": True, "channels_last": True}),
    "torch-compile": (TORCH, {"sdpa": True, "compile": "default"}),
    "torch-compile-naive": (TORCH, {"compile": "default"}),
    "torch-max-autotune": (TORCH, {"sdpa": True, "compile": "max-autotune"}),
    "torch-reduce-overhead": (TORCH, {"sdpa": True, "compile": "reduce-overhead"}),
    "torch-bf16-weights": (TORCH, {"sdpa": True, "compile": "default", "bfloat16_weights": True}),
    "timm": (TORCH, {"timm": True}),
    "timm-compile": (TORCH, {"timm": True, "compile": "default"}),
}
DEFAULT = ("jax", "torch-eager", "torch-sdpa", "torch-compile")


def is_jax(name: str) -> bool:
    """Whether a contestant is JAX's, and not PyTorch's."""
    return CONTESTANTS[name][0] == JAX


@dataclass
class Result:
    """Of one contestant, over all its processes.

    Attributes:
      name: in CONTESTANTS.
      step_ms: for each process, milliseconds a step of each timed block.
      first_step_sec: for each process, to the end of the first step, mostly compilation; the first
        process begins with an empty cache and the others with its.
      peak_bytes: of device memory, or on a CPU of the process; the largest.
      first_loss: of the first batch, without dropout and smoothing.
      failure: why it could not run, or None.
      versions: of its framework and device.
      product_flops_per_sec: for each process, the rate of the model's products alone.
    """

    name: str
    step_ms: list[list[float]] = field(default_factory=list)
    first_step_sec: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    first_loss: float = math.nan
    failure: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    product_flops_per_sec: list[float] = field(default_factory=list)

    @property
    def samples(self) -> np.ndarray:
        return np.concatenate(self.step_ms) if self.step_ms else np.array([np.nan])


def run(
    workload: Workload,
    names: Sequence[str],
    processes: int,
    seconds: float,
    cache: Path,
    say: Callable[[str], None],
) -> list[Result]:
    """Lets the contestants run in turns, forwards and backwards, each in a fresh process.

    Args:
      workload: the same for all.
      names: of contestants.
      processes: a contestant.
      seconds: that each process times, at least; after warm-up.
      cache: an empty directory, for what the contestants read and each one's compiled programs.
      say: told in one line of each process.
    """
    results = {name: Result(name) for name in names}
    workload.write(cache)
    for turn, name in turns(list(results), processes):
        result = results[name]
        if result.failure is not None:
            continue
        began = time.perf_counter()
        found = _time(name, workload, seconds, cache)
        if "failure" in found:
            result.failure = found["failure"]
            say(f"{name}: {result.failure}")
            continue
        result.step_ms.append(found["step_ms"])
        result.first_step_sec.append(found["first_step_sec"])
        result.peak_bytes = max(result.peak_bytes, found["peak_bytes"])
        result.first_loss, result.versions = found["first_loss"], found["versions"]
        result.product_flops_per_sec.append(found["product_flops_per_sec"])
        rate = workload.batch_size / np.median(found["step_ms"]) * 1e3
        say(
            f"{turn}/{processes} {name}: {rate:,.1f} images/s, first step after "
            f"{found['first_step_sec']:.1f} s ({time.perf_counter() - began:.0f} s in all)"
        )
    return list(results.values())


def turns(names: Sequence[str], processes: int) -> Iterator[tuple[int, str]]:
    """Each name once a turn, forwards and backwards, with the turn's number from 1."""
    for turn in range(1, processes + 1):
        for name in names if turn % 2 == 1 else reversed(names):
            yield turn, name


def _time(name: str, workload: Workload, seconds: float, cache: Path) -> dict[str, Any]:
    module, options = CONTESTANTS[name]
    task = {"workload": asdict(workload), "shape": workload.shape, "seconds": seconds} | options
    task |= {"inputs": str(cache), "products": workload.products}
    task |= {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    return run_process(module, task, cache / name)


def run_process(module: str, task: dict[str, Any], cache: Path) -> dict[str, Any]:
    """What `module` prints as JSON when it is given `task`; or its last words, as "failure".

    Compiled programs are kept below `cache`.
    """
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "torch"),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # so that the peak is what was needed
    }
    done = subprocess.run(
        [sys.executable, "-m", "jaxvit.speed.process", module, json.dumps(task)],
        env=environment,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        said = [line.strip() for line in done.stderr.splitlines()]
        # A library that aborts prints its reason, and then where it stood.
        said = [line for line in said if line and not line.startswith(("@", "***"))]
        return {"failure": (said or [f"ended with {done.returncode}"])[-1][:300]}
    return json.loads(lines[-1])


def check_equal_losses(results: Sequence[Result], tolerance: float) -> None:
    """Refuses to compare programs that do not compute the same.

    Raises:
      UserError: naming the two whose first losses differ by more than `tolerance`, relatively.
    """
    ran = [result for result in results if result.failure is None]
    for result in ran[1:]:
        reference = ran[0].first_loss
        if not abs(result.first_loss - reference) <= tolerance * abs(reference):
            raise UserError(
                f"{ran[0].name} and {result.name} are not the same program: their first losses are "
                f"{reference:.6f} and {result.first_loss:.6f}"
            )


def interval(step_ms: Sequence[Sequence[float]], resamples: int = 2000) -> tuple[float, float]:
    """A 95 % interval of the median step, by the bootstrap: of processes, then of their samples."""
    rng = np.random.default_rng(0)
    groups = [np.asarray(group) for group in step_ms]
    medians = [
        np.median(
            np.concatenate(
                [
                    rng.choice(groups[pick], len(groups[pick]))
                    for pick in rng.integers(0, len(groups), len(groups))
                ]
            )
        )
        for _ in range(resamples)
    ]
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)
