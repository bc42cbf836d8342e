"""python docs/generation_speed.py: training and sampling of DCGAN and DDPM here and with the twin.

Both train the presets' networks on random images of their sizes, each step with its own noise, and
sample from them: a DCGAN in one pass, DDPM by DDIM in 25 steps of two passes (guidance). Here a
whole chain is one compiled loop; the twin calls its network once a step, eagerly and compiled.
jax-sharded trains on a device for each core (JAX_NUM_CPU_DEVICES), as samples are made. Each
candidate runs in processes of its own, which alternate. Training is without augmentation and
without a running average of the weights, and keeps freed memory in the process on both sides.
Writes docs/generation_speed.json, in which --tasks replaces those that it names.
"""

import argparse
import json

import numpy as np
from side_by_side import ROOT, in_turn, middle, rate, typical_rate

from jaxvit.runtime.memory import keep_freed_memory

RESULTS = ROOT / "docs" / "generation_speed.json"
CANDIDATES = {
    "training": ("jax", "jax-sharded", "torch", "torch-compile"),
    "sampling": ("jax", "torch", "torch-compile"),
}
SECONDS, CLASSES = 10.0, 10
# name: preset, image size, channels, batch of a step, samples of a chain
TASKS = {
    "digits-dcgan": ("digits-dcgan", 8, 1, 64, 256),
    "digits-ddpm": ("digits-ddpm", 8, 1, 64, 256),
    "flowers17-ddpm": ("flowers17-ddpm", 32, 3, 64, 32),
}
STEPS, GUIDANCE = 25, 1.5


def pixels(size: int, channels: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images and labels."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, size, size, channels), np.uint8)
    return images, (np.arange(batch) % CLASSES).astype(np.int32)


def with_jax(name: str, what: str, sharded: bool, kept: bool) -> float:
    """Training has the CPU as one device and sampling one device for each core, as in commands.

    Args:
      sharded: train on a device for each core as well.
      kept: whether freed memory stays in the process.
    """
    import jax

    from jaxvit.command_line import parse
    from jaxvit.data.decoded import Dataset, Split
    from jaxvit.interop.saved_generator import SavedGenerator
    from jaxvit.models.configured import make_generator
    from jaxvit.runtime.cpu import divide_cpu
    from jaxvit.runtime.devices import make_devices
    from jaxvit.runtime.gaps import fill_gaps_after_compiling
    from jaxvit.tasks.configured import make_task
    from jaxvit.tasks.samples import compile_batch
    from jaxvit.tasks.sampling import Sampling
    from jaxvit.training.state import create_state
    from jaxvit.training.steps import compile_train_step

    if kept:
        fill_gaps_after_compiling()
    preset, size, channels, batch, samples = TASKS[name]
    plain = ("--augment.crop-scale", "1", "1", "--augment.flip-p", "0")
    _, config = parse([preset, "--batch-size", str(batch), *plain, "--no-keep-programs"])
    images, labels = pixels(size, channels, batch)
    split = Split(images, np.arange(batch), labels, tuple(map(str, range(batch))))
    data = Dataset(tuple(map(str, range(CLASSES))), split, split, split)
    if sharded or what == "sampling":
        divide_cpu(one_per_core=True)
    if what == "training":
        devices = make_devices(config)
        task = make_task(config, data, 100_000, devices.axis)
        state = [devices.create(lambda: create_state(task, 0))]
        compiled = compile_train_step(task, devices, config)
        placed = devices.place_batch(split.take(np.arange(batch), with_index=True))

        def step() -> None:
            state[0], metrics = compiled(state[0], placed)
            jax.block_until_ready(metrics)

        return typical_rate(step, batch, SECONDS)
    task = make_task(config, data, 100_000, None)
    state = create_state(task, 0)
    generator = make_generator(config.model, CLASSES, config.diffusion.steps)
    weights = jax.device_get(task.weights(state.params, state.extra))
    saved = SavedGenerator(config, data.class_names, generator, weights, 0)
    sample = compile_batch(saved, 0, Sampling(STEPS, 0.0, GUIDANCE))
    samples = -(-samples // jax.device_count()) * jax.device_count()
    rows, of = np.arange(samples), (np.arange(samples) % CLASSES).astype(np.int32)
    return rate(lambda: jax.block_until_ready(sample(rows, of)), samples, SECONDS)


def with_torch(name: str, what: str, compiled: bool) -> float:
    import torch

    from torch_ref.survey.adversarial import adversarial_step
    from torch_ref.survey.adversarial import make_optimizer as make_adam
    from torch_ref.survey.dcgan import Discriminator, Generator
    from torch_ref.survey.ddpm import ddim_sample, ddpm_step
    from torch_ref.survey.diffusion import Diffusion
    from torch_ref.survey.unet import UNet

    _, size, channels, batch, samples = TASKS[name]
    images, labels = pixels(size, channels, batch)
    real = torch.tensor(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    real = real.contiguous(memory_format=torch.channels_last)
    labels, of = torch.tensor(labels).long(), torch.arange(samples) % CLASSES

    def ready(network):
        network = network.to(memory_format=torch.channels_last)
        return torch.compile(network) if compiled else network

    if name.endswith("dcgan"):
        networks = (
            ready(Generator(size, channels, 64, 100, CLASSES)),
            ready(Discriminator(size, channels, 64, CLASSES)),
        )
        optimizers = tuple(map(make_adam, networks))

        def step() -> None:
            z = torch.randn(batch, 100)
            adversarial_step(*networks, optimizers, real, z, labels)

        if what == "training":
            return typical_rate(step, batch, SECONDS)
        networks[0].eval()

        @torch.no_grad()
        def sample() -> None:
            networks[0](torch.randn(samples, 100), of)

        return rate(sample, samples, SECONDS)
    shape = (32, (1, 2), 1, (4,)) if name == "digits-ddpm" else (64, (1, 2, 2), 1, (8,))
    network = ready(UNet(size, channels, *shape, num_classes=CLASSES))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.0, fused=True)
    diffusion = Diffusion()

    def step() -> None:
        t, noise = torch.randint(0, 1000, (batch,)), torch.randn_like(real)
        hidden = torch.where(torch.rand(batch) < 0.1, CLASSES, labels)
        ddpm_step(network, optimizer, diffusion, real, t, noise, hidden)

    if what == "training":
        return typical_rate(step, batch, SECONDS)
    network.eval()

    def chain() -> None:
        x = torch.randn(samples, channels, size, size).contiguous(memory_format=torch.channels_last)
        ddim_sample(network, diffusion, x, STEPS, of, GUIDANCE, CLASSES)

    return rate(chain, samples, SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, what, candidate = options.one
        # Before JAX, PyTorch or their threads are there.
        kept = what == "training" and keep_freed_memory()
        if candidate.startswith("jax"):
            found = with_jax(name, what, sharded=candidate == "jax-sharded", kept=kept)
        else:
            found = with_torch(name, what, compiled=candidate == "torch-compile")
        print(json.dumps(found))
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in options.tasks:
        for what, candidates in CANDIDATES.items():
            found = in_turn(__file__, candidates, "--one", name, what)
            results[f"{name}, {what}"] = found
            for candidate, rates in found.items():
                print(name, what, candidate, middle(rates))
            RESULTS.write_text(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
