"""The JAX part of jaxvit.speed.files: decoding, augmentation, and training from the cache.

`python -m jaxvit.speed.pipeline TASK` prints one line of JSON. Torch twin: `pipeline` in
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
from jaxvit.speed.jax_candidate import first_devices, make_training, timed
from jaxvit.speed.workload import NUM_BATCHES, Workload

STEPS, SKIPPED = 12, 4  # per round; the first SKIPPED steps of a round are not counted


def main(task: dict) -> dict:
    """Times the parts of the pipeline; jaxvit.speed.files compares them."""
    workload = Workload(**task["workload"])
    with tempfile.TemporaryDirectory() as cache:  # empty, so that all images are decoded
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
    """Images per second of Cutout with one hole and CutMix, as in the lab."""
    config = AugmentConfig(
        cutout_holes=1, cutout_length=task["cutout_length"], cutmix_alpha=1.0, cutmix_p=1.0
    )
    augment = jax.jit(make_augment(config, IMAGENET_MEAN, IMAGENET_STD))
    key = jax.random.key(workload.seed)
    batch = split.take(np.arange(workload.batch_size))
    targets = jax.nn.one_hot(batch["label"], workload.num_classes)
    inputs = [(jax.device_put(batch["image"]), targets)]
    step_ms = timed(lambda pair: augment(key, *pair), inputs, task["seconds"])
    return 1e3 * workload.batch_size / float(np.median(step_ms))


def training(workload: Workload, split, seconds: float) -> dict[str, list[float]]:
    """Milliseconds per step on batches held in memory, and on batches read from the cache.

    The two alternate in rounds of STEPS. The first steps of a round are not counted, because their
    batches were prefetched during the other round.
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
