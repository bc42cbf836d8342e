"""The benchmark: runs the candidates in alternating processes and collects their results."""

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

JAX, TORCH = "jaxvit.speed.jax_candidate", "torch_ref.speed"
# Name -> the module that runs it, and its options.
CANDIDATES: dict[str, tuple[str, dict[str, Any]]] = {
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
# Starts of lines that follow the reason on stderr: an abort's stack trace, JAX's note on its own.
NOT_A_REASON = ("@", "***", "---", "For simplicity, JAX has removed")


def is_jax(name: str) -> bool:
    """Whether a candidate runs in JAX; otherwise in PyTorch."""
    return CANDIDATES[name][0] == JAX


@dataclass
class Result:
    """Measurements of one candidate, over all its processes.

    Attributes:
      name: in CANDIDATES.
      step_ms: for each process, milliseconds per step of each timed block.
      first_step_sec: for each process, seconds of the first step, mostly compilation. The first
        process starts with an empty compilation cache, and the others with the cache it filled.
      peak_bytes: largest use of device memory, or of the process's memory on a CPU.
      first_loss: of the first batch, without dropout and label smoothing.
      failure: why it could not run, or None.
      versions: of its framework and device.
      matmul_flops_per_sec: for each process, FLOP/s of the model's matmuls alone.
    """

    name: str
    step_ms: list[list[float]] = field(default_factory=list)
    first_step_sec: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    first_loss: float = math.nan
    failure: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    matmul_flops_per_sec: list[float] = field(default_factory=list)

    @property
    def samples(self) -> np.ndarray:
        return np.concatenate(self.step_ms) if self.step_ms else np.array([np.nan])


def run(
    workload: Workload,
    names: Sequence[str],
    processes: int,
    seconds: float,
    cache: Path,
    log: Callable[[str], None],
) -> list[Result]:
    """Runs the candidates in alternating order, each time in a new process.

    Args:
      workload: the same for all candidates.
      names: of candidates.
      processes: per candidate.
      seconds: shortest timed duration of a process, after warm-up.
      cache: an empty directory, for the inputs and for each candidate's compiled programs.
      log: called with one line per process.
    """
    results = {name: Result(name) for name in names}
    workload.write(cache)
    for number, name in alternate(list(results), processes):
        result = results[name]
        if result.failure is not None:
            continue
        began = time.perf_counter()
        found = _time(name, workload, seconds, cache)
        if "failure" in found:
            result.failure = found["failure"]
            log(f"{name}: {result.failure}")
            continue
        result.step_ms.append(found["step_ms"])
        result.first_step_sec.append(found["first_step_sec"])
        result.peak_bytes = max(result.peak_bytes, found["peak_bytes"])
        result.first_loss, result.versions = found["first_loss"], found["versions"]
        result.matmul_flops_per_sec.append(found["matmul_flops_per_sec"])
        rate = workload.batch_size / np.median(found["step_ms"]) * 1e3
        log(
            f"{number}/{processes} {name}: {rate:,.1f} images/s, first step after "
            f"{found['first_step_sec']:.1f} s ({time.perf_counter() - began:.0f} s in all)"
        )
    return list(results.values())


def alternate(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Each name once per round, in reverse order in every second one; with the round, from 1."""
    for number in range(1, rounds + 1):
        for name in names if number % 2 == 1 else reversed(names):
            yield number, name


def _time(name: str, workload: Workload, seconds: float, cache: Path) -> dict[str, Any]:
    module, options = CANDIDATES[name]
    task = {
        "workload": asdict(workload),
        "shape": workload.shape,
        "matmuls": workload.matmuls,
        "inputs": str(cache),
        "seconds": seconds,
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        **options,
    }
    return run_process(module, task, cache / name)


def run_process(module: str, task: dict[str, Any], cache: Path) -> dict[str, Any]:
    """Runs `module` with `task` in a new process, and parses the last line of its stdout as JSON.

    Args:
      module: dotted name; it takes `task` as one JSON argument.
      task: what to measure.
      cache: directory below which compiled programs are cached.

    Returns:
      What it printed, or {"failure": the last informative line of its stderr}.
    """
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "torch"),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # so that peak memory is what was used
    }
    done = subprocess.run(
        [sys.executable, "-m", "jaxvit.speed.process", module, json.dumps(task)],
        env=environment,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        errors = [line.strip() for line in done.stderr.splitlines()]
        errors = [line for line in errors if line and not line.startswith(NOT_A_REASON)]
        return {"failure": (errors or [f"exit code {done.returncode}"])[-1][:300]}
    return json.loads(lines[-1])


def check_equal_losses(results: Sequence[Result], tolerance: float) -> None:
    """Checks that all candidates compute the same function.

    Raises:
      UserError: the first losses of two candidates differ by more than the relative `tolerance`.
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
    """95 % bootstrap interval of the median step: resamples processes, then their samples."""
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
