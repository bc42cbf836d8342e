"""python -m jaxvit.speed.fast_paths: an ablation of each fast path, all else equal.

Every fast path of jaxvit.models has a reference implementation of the same function. A training
step with all fast paths alternates with a step in which a single path is replaced by its reference,
in one process. Each round gives the ratio of the two times, reference over fast path. The median of
the ratios is printed with its quartiles. A path stays if it saves 3 % of the step's time (a ratio
of 1.03) or 3 % of its temporaries' memory.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import jax
import numpy as np

from jaxvit.completion import complete
from jaxvit.config import Config, DataConfig, OptimConfig
from jaxvit.models import dropout, layer_norm, multi_head_attention, transformer
from jaxvit.models.transformer import VisionTransformer
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.presets.variants import VARIANTS
from jaxvit.runtime.gaps import fill_gaps_after_compiling
from jaxvit.runtime.machine import cores, processor
from jaxvit.runtime.memory import keep_freed_memory
from jaxvit.tasks.classification import make_classification
from jaxvit.training.state import create_state
from jaxvit.training.steps import make_train_step

# Name -> (module, attribute, its replacement).
PATHS: dict[str, tuple[object, str, object]] = {
    "LayerNorm": (layer_norm, "standardize", layer_norm.reference_standardize),
    "dropout": (dropout, "draw_kept", dropout.reference_draw_kept),
    "attention": (multi_head_attention, "attend", multi_head_attention.reference_attend),
    "last layer": (transformer, "tokens_read", transformer.reference_tokens_read),
}

KEPT_MEMORY = "kept memory"  # measured in processes of its own


def build(options: argparse.Namespace) -> tuple[Callable[[], float], float]:
    """Returns a function that takes one step and returns its seconds; and the compile time."""
    jax.clear_caches()  # otherwise a trace with another path would be reused
    size = VARIANTS[options.model]
    model = VisionTransformer(img_size=options.img_size, dropout=options.dropout, **size._asdict())
    config = complete(Config(data=DataConfig(name="folder", dir="."), optim=OptimConfig()))
    task = make_classification(model, *make_optimizer(config.optim, 1000), config)
    state = jax.jit(lambda: create_state(task, 0))()
    rng = np.random.default_rng(0)
    shape = (options.batch_size, options.img_size, options.img_size, 3)
    batch = {
        "image": rng.integers(0, 256, shape, np.uint8),
        "label": rng.integers(0, 37, options.batch_size).astype(np.int32),
    }
    step = jax.jit(make_train_step(task, seed=0), donate_argnums=0)
    compiled = step.lower(state, batch).compile()

    def take_a_step() -> float:
        nonlocal state
        start = time.perf_counter()
        state, metrics = compiled(state, batch)
        jax.block_until_ready((state, metrics))
        return time.perf_counter() - start

    return take_a_step, compiled.memory_analysis().temp_size_in_bytes / 1e6


def measure(name: str, options: argparse.Namespace) -> dict:
    """Rounds of one step each, the order changing from round to round."""
    fast, fast_mb = build(options)
    module, attribute, reference = PATHS[name]
    with mock.patch.object(module, attribute, reference):
        slow, slow_mb = build(options)
    for step in (fast, slow, fast, slow):
        step()  # warm up
    rounds = [one_round(fast, slow, number) for number in range(options.rounds)]
    return summarise(name, rounds) | {"temporaries_mb": [fast_mb, slow_mb]}


def one_round(fast: Callable, slow: Callable, number: int) -> tuple[float, float]:
    if number % 2:
        reference_sec = slow()
        return fast(), reference_sec
    return fast(), slow()


def measure_kept_memory(options: argparse.Namespace) -> dict:
    """Rounds of two processes each, with freed memory kept and returned to the kernel."""
    rounds = []
    for number in range(options.rounds):
        order = ("keep", "leave") if number % 2 == 0 else ("leave", "keep")
        seconds = {memory: _seconds_in_a_process(memory, options) for memory in order}
        rounds.append((seconds["keep"], seconds["leave"]))
    return summarise(KEPT_MEMORY, rounds)


def _seconds_in_a_process(memory: str, options: argparse.Namespace) -> float:
    command = [sys.executable, "-m", "jaxvit.speed.fast_paths", "--memory", memory]
    for name in ("model", "img_size", "batch_size", "dropout"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def summarise(name: str, rounds: list[tuple[float, float]]) -> dict:
    """Of rounds of (fast, reference) seconds."""
    ratios = [reference_sec / fast_sec for fast_sec, reference_sec in rounds]
    low, ratio, high = (float(x) for x in np.quantile(ratios, [0.25, 0.5, 0.75]))
    fast_sec, reference_sec = (float(x) for x in np.median(rounds, axis=0))
    return {
        "path": name,
        "ratio": ratio,
        "quartiles": [low, high],
        "fast_sec": fast_sec,
        "reference_sec": reference_sec,
        "rounds": rounds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m jaxvit.speed.fast_paths", description=__doc__)
    parser.add_argument("--model", choices=VARIANTS, default="vit-s16")
    parser.add_argument("--img-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=9)
    names = [*PATHS, KEPT_MEMORY]
    parser.add_argument("--paths", nargs="+", choices=names, default=names)
    parser.add_argument("--out", help="a JSON file for every measurement")
    parser.add_argument("--memory", choices=("keep", "leave"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory != "leave" and keep_freed_memory():
        fill_gaps_after_compiling()
    if options.memory:
        step = build(options)[0]
        print(np.median([step() for _ in range(9)][2:]))
        return
    print(
        f"{options.model} at {options.img_size}, batch {options.batch_size}, dropout "
        f"{options.dropout:g}, training, float32, {options.rounds} rounds; {processor()}, "
        f"{cores()} cores, jax {jax.__version__}",
        flush=True,
    )
    found = []
    for name in options.paths:
        kept = name == KEPT_MEMORY
        found.append(measure_kept_memory(options) if kept else measure(name, options))
        each = found[-1]
        low, high = each["quartiles"]
        megabytes = each.get("temporaries_mb")
        memory = f"; {megabytes[1]:,.0f} and {megabytes[0]:,.0f} MB" if megabytes else ""
        print(
            f"{name:18} reference / fast {each['ratio']:.3f} (quartiles {low:.3f}, {high:.3f}); "
            f"{each['reference_sec']:.3f} and {each['fast_sec']:.3f} s per step{memory}",
            flush=True,
        )
        if options.out:
            Path(options.out).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
