"""JAX's contestant: `python -m jaxvit.speed.contestant TASK`, one JSON line on stdout.

Run by jaxvit.speed.contest in a process of its own. PyTorch's is torch_ref/speed.py.
"""

import json
import resource
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from jaxvit.augment.normalize import normalize
from jaxvit.config import IMAGENET_MEAN, IMAGENET_STD, Config
from jaxvit.errors import UserError
from jaxvit.interop.torch_weights import params_from_state_dict
from jaxvit.models.transformer import VisionTransformer
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.runtime.compiler import jit
from jaxvit.runtime.devices import AXIS, Devices
from jaxvit.runtime.machine import cores
from jaxvit.speed.workload import Workload
from jaxvit.tasks.classification import make_classification
from jaxvit.training.fit import STEPS_AHEAD
from jaxvit.training.state import create_state
from jaxvit.training.steps import compile_train_step
from jaxvit.training.task import Batch, Metrics, Params

WARMUP_STEPS = 3
PRODUCT_SEC = 0.3  # of each shape: a burst is faster than what a processor sustains


def main(task: dict) -> dict:
    """Times the workload; see contest.Result for what is returned."""
    workload = Workload(**task["workload"])
    devices = first_devices(shares(workload.batch_size) if task.get("sharded") else 1)
    if jax.default_backend() == "gpu":
        precision = "tensorfloat32" if workload.tf32 else "float32"
        jax.config.update("jax_default_matmul_precision", precision)
    model = VisionTransformer(
        **workload.shape, dropout=workload.dropout, dtype=jnp.dtype(workload.dtype)
    )
    weights = np.load(f"{task['inputs']}/weights.npz")
    params = devices.replicate(params_from_state_dict(weights))
    with np.load(f"{task['inputs']}/batches.npz") as arrays:
        batches = [
            {"image": images, "label": labels}
            for images, labels in zip(arrays["images"], arrays["labels"], strict=True)
        ]

    @partial(jit, in_shardings=(devices.replicated, devices.by_example))
    def logits_of(params, images):
        return model.apply({"params": params}, normalize(images, IMAGENET_MEAN, IMAGENET_STD), True)

    def infer(batch):
        return logits_of(params, batch["image"])

    began = time.perf_counter()
    logits = jax.block_until_ready(infer(batches[0]))
    first_step_sec = time.perf_counter() - began
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batches[0]["label"])

    step = infer
    if workload.task == "train":
        train = make_training(workload, model, params, devices)

        def step(batch):
            return train(devices.place_batch(batch))

        began = time.perf_counter()
        jax.block_until_ready(step(batches[0]))
        first_step_sec = time.perf_counter() - began
    step_ms = timed(step, batches, task["seconds"])
    return {
        "step_ms": step_ms,
        "first_step_sec": first_step_sec,
        "peak_bytes": peak_bytes(),
        "first_loss": float(losses.mean()),
        "product_flops_per_sec": product_rate(workload),
        "versions": {
            "python": sys.version.split()[0],
            "jax": jax.__version__,
            "device": f"{devices.count} x {jax.devices()[0].device_kind}",
        },
    }


def first_devices(count: int) -> Devices:
    return Devices(Mesh(np.asarray(jax.devices()[:count]), (AXIS,)), "jit")


def shares(batch_size: int) -> int:
    """Cuts the CPU into a device for each core; how many of them the batch can be shared by.

    Raises:
      UserError: it would be one, or this is no CPU.
    """
    jax.config.update("jax_num_cpu_devices", cores())
    if jax.default_backend() != "cpu":
        raise UserError("jax-sharded cuts batches for the cores of a CPU: leave it out on a GPU")
    count = max(n for n in range(1, cores() + 1) if batch_size % n == 0)
    if count == 1:
        raise UserError(
            f"--batch-size {batch_size} cannot be shared by {cores()} core(s): choose a multiple "
            "of 2, or leave jax-sharded out"
        )
    return count


def make_training(
    workload: Workload, model: VisionTransformer, params: Params, devices: Devices
) -> Callable[[Batch], Metrics]:
    """The step that train_jax.py takes, from a batch that is placed; it keeps the state."""
    config = Config(seed=workload.seed, label_smoothing=workload.label_smoothing)
    task = make_classification(model, *make_optimizer(config.optim, total_steps=10**6), config)
    # Copies: the step donates its state.
    task = task._replace(init=lambda key: (jax.tree.map(jnp.copy, params), {}))
    train_step = compile_train_step(task, devices, config)
    state = devices.replicate(create_state(task, config.seed))

    def step(batch: Batch) -> Metrics:
        nonlocal state
        state, metrics = train_step(state, batch)
        return metrics

    return step


def timed(step: Callable, batches: list, seconds: float) -> list[float]:
    """Milliseconds a step, for blocks of steps that each end with a fence."""
    count = 0

    def block(steps: int) -> float:
        nonlocal count
        began = time.perf_counter()
        ahead = deque()
        for _ in range(steps):
            count += 1
            ahead.append(step(batches[count % len(batches)]))
            if len(ahead) > STEPS_AHEAD:
                jax.block_until_ready(ahead.popleft())
        jax.block_until_ready(list(ahead))  # a deque would be one leaf, and waited for by nobody
        return (time.perf_counter() - began) / steps

    block(WARMUP_STEPS)
    steps = max(1, round(0.5 / block(2)))  # half a second each: a fence then costs nothing
    samples = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or len(samples) < 5:
        samples.append(1e3 * block(steps))
    return samples


def product_rate(workload: Workload) -> float:
    """FLOP/s of the model's own matrix products, each alone, in the workload's type."""
    total_sec = 0.0
    dtype = jnp.dtype(workload.dtype)
    multiply = jit(jnp.matmul)
    for product in workload.products:
        lead = (product.batch,) if product.batch > 1 else ()
        a = jax.random.normal(jax.random.key(0), (*lead, product.m, product.k), dtype)
        b = jax.random.normal(jax.random.key(1), (*lead, product.k, product.n), dtype)
        jax.block_until_ready(multiply(a, b))
        sec = []
        ends = time.perf_counter() + PRODUCT_SEC
        while time.perf_counter() < ends or len(sec) < 7:
            began = time.perf_counter()
            jax.block_until_ready(multiply(a, b))
            sec.append(time.perf_counter() - began)
        total_sec += product.times * float(np.median(sec))
    return sum(product.flops for product in workload.products) / total_sec


def peak_bytes() -> int:
    stats = jax.devices()[0].memory_stats() or {}
    return int(
        stats.get("peak_bytes_in_use") or 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
