"""python docs/explain_speed.py WEIGHTS: explanations of one photo here and with Captum.

WEIGHTS is a DeiT-Tiny in timm's layout. Timed are integrated gradients of 50 steps, and occlusion
with windows of 16 and strides of 8, of one random image at 224 pixels. Each candidate runs in
processes of its own, which alternate; each measures several sizes of a part (Captum's
internal_batch_size and perturbations_per_eval), and its best one counts. Writes
docs/explain_speed.json.
"""

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
from side_by_side import ROOT, in_turn

RESULTS = ROOT / "docs" / "explain_speed.json"
CANDIDATES, METHODS = ("jaxvit", "captum"), ("integrated_gradients", "occlusion")
SIZES, CALLS = (4, 8, 16, 32), 3
STEPS, WINDOW, STRIDE, TARGET = 50, 16, 8, 207


def image() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype(np.float32)


def median_sec(call: Callable[[], object]) -> float:
    """Of some calls, after one that compiles."""
    call()
    found = []
    for _ in range(CALLS):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def with_jax(weights: str) -> Callable[[str, int], object]:
    """As the command explain does it: memory is kept, and each core is a device."""
    from jaxvit.runtime.cpu import divide_cpu
    from jaxvit.runtime.memory import keep_freed_memory

    kept = keep_freed_memory()
    divide_cpu()
    import jax

    from jaxvit import explain
    from jaxvit.interop.load import load_pretrained
    from jaxvit.runtime.gaps import fill_gaps_after_compiling

    if kept:
        fill_gaps_after_compiling()
    found = load_pretrained(weights)
    function = explain.logits_fn(found.model, {"params": found.params})

    def call(method: str, size: int) -> object:
        options = (
            {"steps": STEPS} if method == METHODS[0] else {"window": WINDOW, "strides": STRIDE}
        )
        attribute = getattr(explain, method)
        return jax.block_until_ready(
            attribute(function, image(), TARGET, batch_size=size, **options)
        )

    return call


def with_captum(weights: str) -> Callable[[str, int], object]:
    import timm
    import torch
    from captum.attr import IntegratedGradients, Occlusion
    from safetensors.torch import load_file

    torch.set_num_threads(os.cpu_count() or 1)
    model = timm.create_model("deit_tiny_patch16_224").eval().requires_grad_(False)
    model.load_state_dict(load_file(weights))
    pixels = torch.from_numpy(image()).permute(0, 3, 1, 2)

    def call(method: str, size: int) -> object:
        if method == METHODS[0]:
            return IntegratedGradients(model).attribute(
                pixels, target=TARGET, n_steps=STEPS, internal_batch_size=size
            )
        with torch.inference_mode():
            return Occlusion(model).attribute(
                pixels, (3, WINDOW, WINDOW), (3, STRIDE, STRIDE), target=TARGET,
                perturbations_per_eval=size,
            )  # fmt: skip

    return call


def measure(method: str, name: str, weights: str) -> dict:
    call = (with_jax if name == "jaxvit" else with_captum)(weights)
    sec, peak = {}, {}
    for size in SIZES:
        sec[size] = median_sec(lambda size=size: call(method, size))
        peak[size] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # so far
    return {"candidate": name, "method": method, "sec": sec, "peak_bytes": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one, options.weights)))
        return
    results = []
    for method in METHODS:
        found = in_turn(__file__, CANDIDATES, options.weights, "--one", method)
        results += [each for mine in found.values() for each in mine]
    RESULTS.write_text(json.dumps(results) + "\n")
    for method in METHODS:
        best = {}
        for name in CANDIDATES:
            mine = [r for r in results if (r["candidate"], r["method"]) == (name, method)]
            medians = {
                size: statistics.median(each["sec"][size] for each in mine)
                for size in mine[0]["sec"]
            }
            size = min(medians, key=medians.get)
            secs = sorted(each["sec"][size] for each in mine)
            memory = statistics.median(each["peak_bytes"][size] for each in mine) / 1e9
            best[name] = medians[size]
            print(
                f"{method}, {name}: {best[name]:.2f} s ({secs[0]:.2f} to {secs[-1]:.2f}) in parts "
                f"of {size}, peak {memory:.2f} GB"
            )
        print(f"{method}: {best['captum'] / best['jaxvit']:.2f} times Captum's speed")


if __name__ == "__main__":
    main()
