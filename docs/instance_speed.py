"""python docs/instance_speed.py FLOWERS: instance discrimination here and with the PyTorch twin.

FLOWERS holds jpg/ of Flowers-17. Both train vit-pytorch's model of one size with a head of
instances on the same views (crop, flip, jitter, grey, blur), at 64 pixels, a batch of 64 images
with two large and four small views, by AdamW. Here views are part of the compiled step, on one
device and on a device for each core; the twin draws them with torchvision in a DataLoader with a
worker for each core, from photos that are decoded once, and trains eagerly and compiled. Each
candidate runs in processes of its own, which alternate; the first epoch is not measured. Of the
twin, the share of time that a step takes of itself is measured too. Writes
docs/instance_speed.json.
"""

import argparse
import json
import os

import numpy as np
from side_by_side import ROOT, in_turn, middle, rate

RESULTS = ROOT / "docs" / "instance_speed.json"
CANDIDATES = ("jax", "jax-sharded", "torch", "torch-compile")
SECONDS, CORES = 20.0, os.cpu_count() or 1
SIZE, STORED, PATCH, WIDTH, HEADS, LAYERS, BATCH = 64, 96, 16, 192, 3, 6, 64
LARGE, SMALL, SCALES = 2, 4, ((0.14, 1.0), (0.05, 0.4))


def with_jax(flowers: str, sharded: bool) -> dict[str, float]:
    import jax

    jax.config.update("jax_num_cpu_devices", CORES if sharded else 1)
    from jaxvit.command_line import parse
    from jaxvit.data.datasets import load_dataset
    from jaxvit.data.loader import prefetch_to_device, train_batches
    from jaxvit.runtime.devices import make_devices
    from jaxvit.runtime.gaps import fill_gaps_after_compiling
    from jaxvit.runtime.memory import keep_freed_memory
    from jaxvit.runtime.program_cache import cache_programs
    from jaxvit.tasks.configured import make_task
    from jaxvit.training.state import create_state
    from jaxvit.training.steps import compile_train_step

    _, config = parse([
        "flowers17-idmm", "--data.dir", flowers, "--model.patch-norm", "True",
        "--model.qkv-bias", "False", "--model.img-size", str(SIZE), "--model.patch-size",
        str(PATCH), "--model.embed-dim", str(WIDTH), "--model.num-heads", str(HEADS),
        "--model.num-layers", str(LAYERS), "--augment.cutmix-alpha", "0", "--batch-size",
        str(BATCH), "--instance.small-views", str(SMALL), "--data.stored-scale",
        str(STORED / SIZE), "--no-keep-programs", "--instance.contrastive-weight", "0",
        "--instance.no-cosine", "--instance.z-dim", "0", "--label-smoothing", "0.1",
        "--augment.grey-p", "0.2", "--augment.blur-p", "0.5",
    ])  # fmt: skip
    if keep_freed_memory():
        fill_gaps_after_compiling()
    cache_programs(config, print)
    devices = make_devices(config)
    data = load_dataset(config.data, SIZE, 3)
    task = make_task(config, data, 1000, devices.axis)
    state = [devices.create(lambda: create_state(task, 0))]
    compiled = compile_train_step(task, devices, config)
    batches = prefetch_to_device(
        train_batches(data.train, BATCH, 0, with_index=True), devices.place_batch, 2
    )

    def step() -> None:
        state[0], metrics = compiled(state[0], next(batches))
        jax.block_until_ready(metrics)

    return {"images_per_sec": rate(step, BATCH, SECONDS, 5)}


def with_torch(flowers: str, compiled: bool) -> dict[str, float]:
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from vit_pytorch import ViT

    from torch_ref.instance_discrimination.flowers17 import Flowers17, split_rows
    from torch_ref.instance_discrimination.instance_classifier import InstanceClassifier
    from torch_ref.instance_discrimination.training import loss_of
    from torch_ref.instance_discrimination.views import Views, paper_augmentation

    rows, _, _ = split_rows(flowers, 0.1, 0)
    decoded = Flowers17(flowers, np.asarray, STORED, rows)
    photos = [Image.fromarray(decoded[index][0]) for index in range(len(decoded))]
    views = [
        Views(paper_augmentation(SIZE, scale), number)
        for scale, number in zip(SCALES, (LARGE, SMALL), strict=True)
    ]

    class Viewed(Dataset):
        def __len__(self) -> int:
            return len(photos)

        def __getitem__(self, index: int):
            return *(each(photos[index]) for each in views), index

    backbone = ViT(
        image_size=SIZE, patch_size=PATCH, num_classes=WIDTH, dim=WIDTH, depth=LAYERS, heads=HEADS,
        dim_head=WIDTH // HEADS, mlp_dim=4 * WIDTH,
    )  # fmt: skip
    backbone.mlp_head = torch.nn.Identity()
    model = InstanceClassifier(backbone, WIDTH, len(photos))
    called = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=1e-3, fused=True)

    def endless():
        loader = DataLoader(
            Viewed(), BATCH, shuffle=True, drop_last=True, num_workers=CORES,
            persistent_workers=True,
        )  # fmt: skip
        while True:
            yield from loader

    batches = endless()

    def update(large, small, index) -> None:
        optimizer.zero_grad()
        loss = sum(
            loss_of(called, each, index, 0.1, contrastive_weight=0.0)[0] for each in (large, small)
        )
        loss.backward()
        optimizer.step()

    found = {
        "images_per_sec": rate(
            lambda: update(*next(batches)), BATCH, SECONDS, len(photos) // BATCH + 1
        )
    }
    batch = next(batches)
    found["images_per_sec_of_steps_alone"] = rate(lambda: update(*batch), BATCH, SECONDS, 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("flowers")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name = options.one
        if name.startswith("jax"):
            found = with_jax(options.flowers, name == "jax-sharded")
        else:
            found = with_torch(options.flowers, name == "torch-compile")
        print(json.dumps(found))
        return
    results = in_turn(__file__, CANDIDATES, options.flowers, "--one")
    for name, found in results.items():
        for what in found[0]:
            print(name, what, middle([each[what] for each in found]))
    RESULTS.write_text(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
