"""python -m jaxvit.speed.fast_paths: an ablation of each fast path, all else equal.

Every fast path of jaxvit.models has a reference implementation of the same function. A training
step with all fast paths alternates with a step in which a single path is replaced by its reference,
in one process. Each round gives the ratio of the two times, reference over fast path. The median of
the ratios is printed with its quartiles. A path that does not reach 1.03 is to be removed.
"""

import argparse
import json
import time
from collections.abc import Callable
from unittest import mock

import jax
import numpy as np

from jaxvit.config import Config, DataConfig, OptimConfig
from jaxvit.models import dropout, gelu, layer_norm, multi_head_attention, transformer
from jaxvit.models.transformer import VisionTransformer
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.presets import VARIANTS, complete
from jaxvit.runtime import compiler
from jaxvit.runtime.machine import cores, processor
from jaxvit.runtime.memory import keep_freed_memory
from jaxvit.tasks.classification import make_classification
from jaxvit.training.state import create_state
from jaxvit.training.steps import make_train_step

# Name -> (module, attribute, its replacement).
PATHS: dict[str, tuple[object, str, object]] = {
    "GELU": (transformer, "gelu", gelu.reference_gelu),
    "LayerNorm": (layer_norm, "standardize", layer_norm.reference_standardize),
    "dropout": (dropout, "draw_kept", dropout.reference_draw_kept),
    "attention": (multi_head_attention, "attend", multi_head_attention.reference_attend),
    "compiler options": (compiler, "xla_options", lambda: None),
}


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
    began = time.perf_counter()
    step = compiler.jit(make_train_step(task, seed=0), donate_argnums=0)
    compiled = step.lower(state, batch).compile()
    compile_sec = time.perf_counter() - began

    def take_a_step() -> float:
        nonlocal state
        start = time.perf_counter()
        state, metrics = compiled(state, batch)
        jax.block_until_ready((state, metrics))
        return time.perf_counter() - start

    return take_a_step, compile_sec


def measure(name: str, options: argparse.Namespace) -> dict:
    """Times both steps once per round; their order alternates."""
    fast, fast_compile_sec = build(options)
    module, attribute, reference = PATHS[name]
    with mock.patch.object(module, attribute, reference):
        slow, slow_compile_sec = build(options)
    for step in (fast, slow, fast, slow):
        step()  # warm up
    rounds = [one_round(fast, slow, number) for number in range(options.rounds)]
    ratios = np.array([reference_sec / fast_sec for fast_sec, reference_sec in rounds])
    quartiles = np.quantile(ratios, [0.25, 0.5, 0.75])
    return {
        "path": name,
        "ratio": float(quartiles[1]),
        "quartiles": [float(quartiles[0]), float(quartiles[2])],
        "fast_sec": float(np.median([fast_sec for fast_sec, _ in rounds])),
        "reference_sec": float(np.median([reference_sec for _, reference_sec in rounds])),
        "compile_sec": [fast_compile_sec, slow_compile_sec],
        "rounds": rounds,
    }


def one_round(fast: Callable, slow: Callable, number: int) -> tuple[float, float]:
    if number % 2:
        reference_sec = slow()
        return fast(), reference_sec
    return fast(), slow()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m jaxvit.speed.fast_paths", description=__doc__)
    parser.add_argument("--model", choices=VARIANTS, default="vit-s16")
    parser.add_argument("--img-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--paths", nargs="+", choices=PATHS, default=list(PATHS))
    parser.add_argument("--out", help="JSON file for all measurements")
    options = parser.parse_args()
    print(
        f"{options.model} at {options.img_size}, batch {options.batch_size}, dropout "
        f"{options.dropout:g}, training, float32, {options.rounds} rounds; {processor()}, "
        f"{cores()} cores, jax {jax.__version__}",
        flush=True,
    )
    found = []
    for name in options.paths:
        found.append(measure(name, options))
        low, high = found[-1]["quartiles"]
        print(
            f"{name:18} reference / fast {found[-1]['ratio']:.3f} "
            f"(quartiles {low:.3f}, {high:.3f}); "
            f"{found[-1]['reference_sec']:.3f} and {found[-1]['fast_sec']:.3f} s per step",
            flush=True,
        )
        if options.out:
            with open(options.out, "w") as file:
                json.dump(found, file, indent=1)


if __name__ == "__main__":
    keep_freed_memory()
    main()
