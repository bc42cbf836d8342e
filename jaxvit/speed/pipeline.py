"""JAX's side of jaxvit.speed.files: decoding, augmentation, and training from the cache.

`python -m jaxvit.speed.pipeline TASK`, one JSON line on stdout. PyTorch's side is pipeline in
torch_ref/speed.py.
"""

import itertools
import json
import sys
import tempfile
import time

import jax
import numpy as np

from jaxvit.augment.pipeline import make_augment
from jaxvit.config import IMAGENET_MEAN, IMAGENET_STD, AugmentConfig, DataConfig
from jaxvit.data.datasets import load_dataset
from jaxvit.data.loader import prefetch_to_device, train_batches
from jaxvit.models.transformer import VisionTransformer, init_params
from jaxvit.runtime.compiler import jit
from jaxvit.speed.contestant import first_devices, make_training, timed
from jaxvit.speed.workload import NUM_BATCHES, Workload

STEPS, SKIPPED = 12, 4  # of each turn, and those of them that are not counted


def main(task: dict) -> dict:
    """Times the parts of the pipeline; see jaxvit.speed.files for what is done with them."""
    workload = Workload(**task["workload"])
    with tempfile.TemporaryDirectory() as cache:  # empty: everything is decoded
        config = DataConfig(name="oxford_iiit_pet", dir=task["dir"], cache_dir=cache)
        began = time.perf_counter()
        data = load_dataset(config, workload.img_size, 3)
        decoding_sec = time.perf_counter() - began
        images = sum(len(split) for split in (data.train, data.val, data.test))
        return {
            "images": images,
            "decoded_per_sec": images / decoding_sec,
            "augmented_per_sec": augmented_per_sec(workload, data.train, task),
            "step_ms": training(workload, data.train, task["seconds"]),
            "versions": {"jax": jax.__version__},
        }


def augmented_per_sec(workload: Workload, split, task: dict) -> float:
    """One hole of Cutout in each image and CutMix, as the lab does them."""
    config = AugmentConfig(
        cutout_holes=1, cutout_length=task["cutout_length"], cutmix_alpha=1.0, cutmix_p=1.0
    )
    augment = jit(make_augment(config, IMAGENET_MEAN, IMAGENET_STD))
    key = jax.random.key(workload.seed)
    batch = split.take(np.arange(workload.batch_size))
    targets = jax.nn.one_hot(batch["label"], workload.num_classes)
    inputs = [(jax.device_put(batch["image"]), targets)]
    step_ms = timed(lambda pair: augment(key, *pair), inputs, task["seconds"])
    return 1e3 * workload.batch_size / float(np.median(step_ms))


def training(workload: Workload, split, seconds: float) -> dict[str, list[float]]:
    """Milliseconds of steps on batches that are held, and read from the cache.

    In turns of STEPS: in a long turn the readers have to keep up, and what they had ready when it
    began, its first steps, is not counted.
    """
    model = VisionTransformer(**workload.shape, dropout=workload.dropout)
    devices = first_devices(1)
    step = make_training(
        workload, model, init_params(model, jax.random.key(workload.seed)), devices
    )
    read = train_batches(split, workload.batch_size, workload.seed)
    held = [devices.place_batch(batch) for batch in itertools.islice(read, NUM_BATCHES)]
    sources = {
        "held": itertools.cycle(held),
        "read": prefetch_to_device(read, devices.place_batch, DataConfig().prefetch_batches),
    }
    step_ms: dict[str, list[float]] = {name: [] for name in sources}
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or not all(step_ms.values()):
        for name, source in sources.items():
            for number in range(STEPS):
                start = time.perf_counter()
                jax.block_until_ready(step(next(source)))
                if number >= SKIPPED:
                    step_ms[name].append(1e3 * (time.perf_counter() - start))
    return step_ms


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
