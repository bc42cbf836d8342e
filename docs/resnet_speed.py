"""python docs/resnet_speed.py: ResNet-18 here beside torchvision's, training and inference.

Each candidate runs in processes of its own, which alternate, on the same random images: jaxvit on
one device and on a device for each core, and torchvision's network with channels-last memory, eager
and compiled. A training step is forward, backward and SGD with momentum. Writes
docs/resnet_speed.json with every sample, and prints a table.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from side_by_side import ROOT, in_turn, middle

RESULTS = ROOT / "docs" / "resnet_speed.json"
CANDIDATES = ("jax", "jax-sharded", "torch", "torch-compile")
SHAPES = ((8, 64, "cifar"), (32, 64, "cifar"), (224, 8, "imagenet"))  # pixels, batch, stem
SECONDS, CORES = 6.0, os.cpu_count() or 1
CLASSES, LR, MOMENTUM = 10, 0.1, 0.9


def times_of(step: Callable[[], None]) -> list[float]:
    """Seconds of each step, after three."""
    for _ in range(3):
        step()
    found, ends = [], time.perf_counter() + SECONDS
    while time.perf_counter() < ends or len(found) < 5:
        began = time.perf_counter()
        step()
        found.append(time.perf_counter() - began)
    return found


def batch(size: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(number, size, size, 3)).astype(np.float32)
    return images, rng.integers(0, CLASSES, number).astype(np.int32)


def with_jax(size: int, number: int, stem: str, sharded: bool) -> dict[str, list[float]]:
    import jax
    import optax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from jaxvit.models.resnet import make_resnet
    from jaxvit.runtime.compiler import compiler_options

    jax.config.update("jax_num_cpu_devices", CORES if sharded else 1)
    mesh = Mesh(jax.devices(), ("data",))
    whole, split = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("data",)))
    model = make_resnet("resnet18", CLASSES, img_size=size, stem=stem)
    images, labels = jax.device_put(batch(size, number), split)
    variables = jax.device_put(model.init(jax.random.key(0), images[:1]), whole)
    tx = optax.sgd(LR, MOMENTUM)

    options = compiler_options(convolves=True, devices=len(jax.devices()))

    @partial(jax.jit, compiler_options=options)
    def train(params, statistics, state):
        def loss(params):
            logits, updates = model.apply(
                {"params": params, "batch_stats": statistics}, images,
                deterministic=False, mutable=["batch_stats"],
            )  # fmt: skip
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean(), updates["batch_stats"]

        grads, statistics = jax.grad(loss, has_aux=True)(params)
        updates, state = tx.update(grads, state)
        return optax.apply_updates(params, updates), statistics, state

    infer = jax.jit(lambda variables: model.apply(variables, images), compiler_options=options)
    state = [variables["params"], variables["batch_stats"], tx.init(variables["params"])]

    def step() -> None:
        state[:] = jax.block_until_ready(train(*state))

    found = {"infer": times_of(lambda: jax.block_until_ready(infer(variables)))}
    return {"train": times_of(step)} | found


def with_torch(size: int, number: int, stem: str, compiled: bool) -> dict[str, list[float]]:
    import torch

    from torch_ref.survey.resnet import ResNet

    torch.set_num_threads(CORES)
    memory = torch.channels_last
    model = ResNet(num_classes=CLASSES, stem=stem).to(memory_format=memory)
    images, labels = map(torch.from_numpy, batch(size, number))
    images, labels = images.permute(0, 3, 1, 2).contiguous(memory_format=memory), labels.long()
    optimizer = torch.optim.SGD(model.parameters(), LR, MOMENTUM)
    called = torch.compile(model) if compiled else model

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(called(images), labels).backward()
        optimizer.step()

    def infer() -> None:
        with torch.inference_mode():
            called(images)

    found = {"train": times_of(step)}
    model.eval()
    return found | {"infer": times_of(infer)}


def measure(name: str, size: int, number: int, stem: str) -> dict[str, list[float]]:
    if name.startswith("jax"):
        return with_jax(size, number, stem, name == "jax-sharded")
    return with_torch(size, number, stem, name == "torch-compile")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        size, number, stem, name = options.one
        print(json.dumps(measure(name, int(size), int(number), stem)))
        return
    results = []
    for size, number, stem in SHAPES:
        found = in_turn(__file__, CANDIDATES, "--one", str(size), str(number), stem)
        samples = {
            name: {task: [[number / sec for sec in each[task]] for each in found[name]]
                   for task in ("train", "infer")}
            for name in CANDIDATES
        }  # fmt: skip
        for task in ("train", "infer"):
            for name in CANDIDATES:
                medians = [statistics.median(each) for each in samples[name][task]]
                print(f"{size} px, {stem}, {task}: {name}", middle(medians), "images/s", flush=True)
        results.append({"size": size, "batch": number, "stem": stem, "images_per_sec": samples})
        RESULTS.write_text(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
