"""The results of a benchmark: a table, and speed.json with all samples."""

import contextlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from jaxvit.runtime.machine import cores, processor
from jaxvit.speed import figure
from jaxvit.speed.benchmark import Result, interval, is_jax
from jaxvit.speed.workload import Workload


def summarise(workload: Workload, results: Sequence[Result]) -> dict[str, Any]:
    """The results of one workload, as written to speed.json.

    images_per_sec = batch_size / median step, with a 95 % bootstrap interval over processes and
    their samples. flop_share = flops_per_sec / matmul_flops_per_sec, where flops_per_sec counts the
    step's matmuls only and matmul_flops_per_sec is the rate of the same matmuls alone: the median
    over processes, of the candidate with the highest one.
    """
    ran = [result for result in results if result.failure is None]
    best_rate = max((float(np.median(result.matmul_flops_per_sec)) for result in ran), default=0.0)
    candidates = {}
    for result in results:
        if result.failure is not None:
            candidates[result.name] = {"failure": result.failure}
            continue
        median = float(np.median(result.samples))
        low, high = interval(result.step_ms)
        flops_per_sec = workload.flops / median * 1e3
        candidates[result.name] = {
            "images_per_sec": workload.batch_size / median * 1e3,
            "images_per_sec_95": [
                workload.batch_size / high * 1e3,
                workload.batch_size / low * 1e3,
            ],
            "step_ms": median,
            "first_step_sec_cold": result.first_step_sec[0],
            "first_step_sec_warm": float(np.median(result.first_step_sec[1:]))
            if len(result.first_step_sec) > 1
            else None,
            "peak_bytes": result.peak_bytes,
            "flops_per_sec": flops_per_sec,
            "flop_share": flops_per_sec / best_rate,
            "first_loss": result.first_loss,
            "versions": result.versions,
            "samples_ms": result.step_ms,
        }
    rates = {n: c["images_per_sec"] for n, c in candidates.items() if "failure" not in c}
    best = max((name for name in rates if not is_jax(name)), key=rates.get, default=None)
    for name in rates:
        if best and is_jax(name):
            candidates[name]["over_best_torch"] = rates[name] / rates[best]
    return {
        "workload": asdict(workload),
        "flops_per_step": workload.flops,
        "matmul_flops_per_sec": best_rate,
        "best_torch": best,
        "ratio_to_best_torch": candidates.get("jax", {}).get("over_best_torch"),
        "candidates": candidates,
        "machine": {
            "system": platform.platform(),
            "processor": processor(),
            "cores": cores(),
        },
    }


def print_table(found: dict[str, Any]) -> None:
    work = found["workload"]
    print(
        f"\n{work['model']} at {work['img_size']}, batch {work['batch_size']}, {work['task']}, "
        f"{work['dtype']}, dropout {work['dropout']:g}: {found['flops_per_step'] / 1e9:,.0f} GFLOP "
        f"per step; matmuls alone run at {found['matmul_flops_per_sec'] / 1e9:,.0f} GFLOP/s"
    )
    print(
        f"{'':24}{'images/s':>10}{'95 % interval':>20}{'ms/step':>11}{'of matmuls':>13}"
        f"{'peak GB':>9}{'first step, s (cold, warm)':>28}"
    )
    for name, entry in found["candidates"].items():
        if "failure" in entry:
            print(f"{name:24}  did not run: {entry['failure'][:90]}")
            continue
        low, high = entry["images_per_sec_95"]
        warm = entry["first_step_sec_warm"]
        first = f"{entry['first_step_sec_cold']:.1f}, "
        first += f"{warm:.1f}" if warm is not None else "-"
        print(
            f"{name:24}{entry['images_per_sec']:>10,.1f}{f'{low:,.1f} to {high:,.1f}':>20}"
            f"{entry['step_ms']:>11,.1f}{entry['flop_share']:>13.0%}"
            f"{entry['peak_bytes'] / 1e9:>9.2f}{first:>28}"
        )
    for name, entry in found["candidates"].items():
        if "over_best_torch" in entry:
            print(f"{name} over {found['best_torch']}: {entry['over_best_torch']:.2f}")
    print(flush=True)


def write(directory: Path, found: list[dict[str, Any]]) -> None:
    """Writes speed.json, and speed.png where matplotlib is installed."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "speed.json").write_text(json.dumps(found, indent=1) + "\n")
    with contextlib.suppress(ImportError):
        figure.draw(found, directory / "speed.png")
