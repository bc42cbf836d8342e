"""The figure of a benchmark: a bar for each candidate, and lines over a sweep."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxvit.speed.benchmark import CANDIDATES, is_jax


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Draws one panel of bars for each workload; lines above them, if one size was swept.

    Args:
      found: what report.summarise returned for each workload.
      path: the PNG to write.

    Raises:
      ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    swept = [s for s in ("batch_size", "img_size") if len({f["workload"][s] for f in found}) > 1]
    lines = len(swept) == 1
    heights = [3.6] * lines + [0.9 + 0.3 * len(each["candidates"]) for each in found]
    figure = Figure(figsize=(9, sum(heights)), layout="constrained")
    panels = list(figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
    if lines:
        _lines(panels.pop(0), found, swept[0])
    for axis, each in zip(panels, found, strict=True):
        _bars(axis, each)
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _ran(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {n: entry for n, entry in found["candidates"].items() if "failure" not in entry}


def _lines(axis, found: list[dict[str, Any]], size: str) -> None:
    from matplotlib import colormaps

    by_size = sorted(found, key=lambda each: each["workload"][size])
    for number, name in enumerate(CANDIDATES):
        each = [(f["workload"][size], ran[name]) for f in by_size if name in (ran := _ran(f))]
        if not each:
            continue
        rates = [entry["images_per_sec"] for _, entry in each]
        low, high = np.transpose([entry["images_per_sec_95"] for _, entry in each])
        axis.errorbar(
            [value for value, _ in each],
            rates,
            yerr=[rates - low, high - rates],
            fmt="o-" if is_jax(name) else "s--",
            color=colormaps["tab20"](number),
            linewidth=2 if is_jax(name) else 1.2,
            markersize=4,
            capsize=2,
            label=name,
        )
    values = sorted({each["workload"][size] for each in found})
    axis.set_xscale("log", base=2)
    axis.set_xticks(values, [str(value) for value in values])
    axis.minorticks_off()
    axis.set_ylim(bottom=0)
    axis.set_xlabel({"batch_size": "batch size", "img_size": "image size, pixels"}[size])
    axis.set_ylabel("images/s")
    work = found[0]["workload"]
    fixed = {"batch_size": f"at {work['img_size']}", "img_size": f"batch {work['batch_size']}"}
    axis.set_title(
        f"{work['model']}, {fixed[size]}, {work['task']}, {work['dtype']}, "
        f"dropout {work['dropout']:g}",
        fontsize=10,
    )
    axis.grid(alpha=0.25)
    if axis.has_data():
        axis.legend(frameon=False)


def _bars(axis, found: dict[str, Any]) -> None:
    ran = _ran(found)
    names = sorted(ran, key=lambda name: ran[name]["images_per_sec"])
    rates = np.array([ran[name]["images_per_sec"] for name in names])
    low, high = np.reshape([ran[name]["images_per_sec_95"] for name in names], (-1, 2)).T
    colours = ["#4477aa" if is_jax(name) else "#cc9966" for name in names]
    errors = [rates - low, high - rates]
    axis.barh(names, rates, color=colours, xerr=errors, error_kw={"elinewidth": 1})
    work = found["workload"]
    for place, name in enumerate(names):
        each = work["batch_size"] * 1e3 / np.concatenate(ran[name]["samples_ms"])
        axis.plot(each, np.full(len(each), place), "|", color="black", alpha=0.4, markersize=7)
        axis.text(0, place, f" {ran[name]['images_per_sec']:,.1f}", va="center", color="white")
    axis.set_title(
        f"{work['model']} at {work['img_size']}, batch {work['batch_size']}, {work['task']}, "
        f"{work['dtype']}, dropout {work['dropout']:g}",
        fontsize=10,
    )
    axis.set_xlabel("images/s: median, 95 % interval and all samples")
