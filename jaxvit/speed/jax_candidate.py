"""The JAX candidates: `python -m jaxvit.speed.jax_candidate TASK` prints one line of JSON.

Run by jaxvit.speed.benchmark in a separate process. Torch twin: torch_ref/speed.py.
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
from jaxvit.config import IMAGENET_MEAN, IMAGENET_STD, Config, DataConfig
from jaxvit.errors import UserError
from jaxvit.interop.torch_weights import params_from_state_dict
from jaxvit.models.transformer import VisionTransformer
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.runtime.devices import AXIS, Devices
from jaxvit.runtime.machine import cores
from jaxvit.speed.workload import Workload
from jaxvit.tasks.classification import make_classification
from jaxvit.training.fit import STEPS_AHEAD
from jaxvit.training.state import create_state
from jaxvit.training.steps import compile_train_step
from jaxvit.training.task import Batch, Metrics, Params

WARMUP_STEPS = 3
MATMUL_SEC = 0.3  # per shape: in a shorter burst a processor is faster than it can sustain


def main(task: dict) -> dict:
    """Times the workload; benchmark.Result describes most of what is returned."""
    workload = Workload(**task["workload"])
    devices = first_devices(count_shards(workload.batch_size) if task.get("sharded") else 1)
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

    @partial(jax.jit, in_shardings=(devices.replicated, devices.by_example))
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
        "matmul_flops_per_sec": matmul_rate(workload),
        "versions": {
            "python": sys.version.split()[0],
            "jax": jax.__version__,
            "device": f"{devices.count} x {jax.devices()[0].device_kind}",
        },
    }


def first_devices(count: int) -> Devices:
    return Devices(Mesh(np.asarray(jax.devices()[:count]), (AXIS,)), "jit")


def count_shards(batch_size: int) -> int:
    """Configures one CPU device per core; returns over how many the batch can be sharded.

    Raises:
      UserError: over one device only, or this is no CPU.
    """
    jax.config.update("jax_num_cpu_devices", cores())
    if jax.default_backend() != "cpu":
        raise UserError("jax-sharded shards batches over the cores of a CPU: leave it out on a GPU")
    count = max(n for n in range(1, cores() + 1) if batch_size % n == 0)
    if count == 1:
        raise UserError(
            f"--batch-size {batch_size} cannot be sharded over {cores()} core(s): choose a "
            "multiple of 2, or leave jax-sharded out"
        )
    return count


def make_training(
    workload: Workload, model: VisionTransformer, params: Params, devices: Devices
) -> Callable[[Batch], Metrics]:
    """The training step of train_jax.py on a placed batch; it holds the state itself."""
    config = Config(
        seed=workload.seed,
        label_smoothing=workload.label_smoothing,
        data=DataConfig(mean=IMAGENET_MEAN, std=IMAGENET_STD),
    )
    task = make_classification(model, *make_optimizer(config.optim, total_steps=10**6), config)
    # A copy of params, because the step donates its state.
    task = task._replace(init=lambda key: (jax.tree.map(jnp.copy, params), {}))
    train_step = compile_train_step(task, devices, config)
    state = devices.replicate(create_state(task, config.seed))

    def step(batch: Batch) -> Metrics:
        nonlocal state
        state, metrics = train_step(state, batch)
        return metrics

    return step


def timed(step: Callable, batches: list, seconds: float) -> list[float]:
    """Milliseconds per step of each timed block; a block ends with a fence."""
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
        jax.block_until_ready(list(ahead))  # it would not look into a deque, which is one leaf
        return (time.perf_counter() - began) / steps

    block(WARMUP_STEPS)
    steps = max(1, round(0.5 / block(2)))  # half a second each: the cost of a fence vanishes
    samples = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or len(samples) < 5:
        samples.append(1e3 * block(steps))
    return samples


def matmul_rate(workload: Workload) -> float:
    """FLOP/s of the model's matmuls, each timed alone, in the workload's dtype."""
    total_sec = 0.0
    dtype = jnp.dtype(workload.dtype)
    multiply = jax.jit(jnp.matmul)
    for matmul in workload.matmuls:
        lead = (matmul.batch,) if matmul.batch > 1 else ()
        a = jax.random.normal(jax.random.key(0), (*lead, matmul.m, matmul.k), dtype)
        b = jax.random.normal(jax.random.key(1), (*lead, matmul.k, matmul.n), dtype)
        jax.block_until_ready(multiply(a, b))
        sec = []
        ends = time.perf_counter() + MATMUL_SEC
        while time.perf_counter() < ends or len(sec) < 7:
            began = time.perf_counter()
            jax.block_until_ready(multiply(a, b))
            sec.append(time.perf_counter() - began)
        total_sec += matmul.times * float(np.median(sec))
    return sum(matmul.flops for matmul in workload.matmuls) / total_sec


def peak_bytes() -> int:
    stats = jax.devices()[0].memory_stats() or {}
    return int(
        stats.get("peak_bytes_in_use") or 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
