"""What a contest found: a table, and speed.json with every sample."""

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
from jaxvit.speed.contest import Result, interval, is_jax
from jaxvit.speed.workload import Workload


def summarise(workload: Workload, results: Sequence[Result]) -> dict[str, Any]:
    """One workload's results, ready for speed.json.

    images_per_sec is the batch over the median step, with a 95 % interval over processes and
    their samples; flop_share is the step's products over its time, as a share of the rate at which
    the same matrices are multiplied alone, in the same run: the best contestant's median.
    """
    ran = [result for result in results if result.failure is None]
    best_rate = max((float(np.median(result.product_flops_per_sec)) for result in ran), default=0.0)
    contestants = {}
    for result in results:
        if result.failure is not None:
            contestants[result.name] = {"failure": result.failure}
            continue
        median = float(np.median(result.samples))
        low, high = interval(result.step_ms)
        flops_per_sec = workload.flops / median * 1e3
        contestants[result.name] = {
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
    rates = {n: c["images_per_sec"] for n, c in contestants.items() if "failure" not in c}
    best = max((name for name in rates if not is_jax(name)), key=rates.get, default=None)
    for name in rates:
        if best and is_jax(name):
            contestants[name]["over_best_torch"] = rates[name] / rates[best]
    return {
        "workload": asdict(workload),
        "flops_per_step": workload.flops,
        "product_flops_per_sec": best_rate,
        "best_torch": best,
        "ratio_to_best_torch": contestants.get("jax", {}).get("over_best_torch"),
        "contestants": contestants,
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
        f"a step; products alone run at {found['product_flops_per_sec'] / 1e9:,.0f} GFLOP/s"
    )
    print(
        f"{'':24}{'images/s':>10}{'95 % interval':>20}{'ms a step':>11}{'of products':>13}"
        f"{'peak GB':>9}{'first step, s (cold, warm)':>28}"
    )
    for name, it in found["contestants"].items():
        if "failure" in it:
            print(f"{name:24}  did not run: {it['failure'][:90]}")
            continue
        low, high = it["images_per_sec_95"]
        warm = it["first_step_sec_warm"]
        first = f"{it['first_step_sec_cold']:.1f}, " + (f"{warm:.1f}" if warm is not None else "-")
        print(
            f"{name:24}{it['images_per_sec']:>10,.1f}{f'{low:,.1f} to {high:,.1f}':>20}"
            f"{it['step_ms']:>11,.1f}{it['flop_share']:>13.0%}{it['peak_bytes'] / 1e9:>9.2f}"
            f"{first:>28}"
        )
    for name, it in found["contestants"].items():
        if "over_best_torch" in it:
            print(f"{name} over {found['best_torch']}: {it['over_best_torch']:.2f}")
    print(flush=True)


def write(directory: Path, found: list[dict[str, Any]]) -> None:
    """speed.json, and speed.png where matplotlib is installed."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "speed.json").write_text(json.dumps(found, indent=1) + "\n")
    with contextlib.suppress(ImportError):
        figure.draw(found, directory / "speed.png")
