"""The same step on any number of devices: jit over a mesh, or pmap.

Under jit the step is written for the whole batch and XLA splits it, so any number of devices
draws the same augmentations and the same dropout masks. Under pmap each device runs the step on
its own shard; the batch is gathered first and the whole of it is augmented, so that partners are
found across devices and draws are one device's draws. Only the dropout masks differ there.
"""

from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxvit.config import ParallelConfig, UserError
from jaxvit.state import TrainState
from jaxvit.steps import Batch, EvalStep, Metrics, TrainParts, TrainStep, make_train_step

AXIS = "data"


@dataclass(frozen=True)
class Devices:
    """The devices of a run, along one axis, and how they share the work."""

    mesh: Mesh
    mode: str

    @property
    def count(self) -> int:
        return self.mesh.size

    @property
    def replicated(self) -> NamedSharding:
        """Every device holds the whole."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def by_example(self) -> NamedSharding:
        """Each device holds its share of the first axis."""
        return NamedSharding(self.mesh, PartitionSpec(AXIS))

    def place_batch(self, batch: dict[str, np.ndarray]) -> Batch:
        """Starts to copy a batch to the devices, each its share, and does not wait."""
        return jax.device_put(batch, self.by_example)

    def replicate(self, tree):
        """Copies a tree of arrays to every device."""
        return jax.device_put(tree, self.replicated)

    def compile_train_step(self, parts: TrainParts) -> TrainStep:
        """The step, compiled at its first call; it donates the state it is given."""
        if self.mode == "pmap":
            return _pmap_train_step(parts, self)
        return jax.jit(
            make_train_step(parts),
            donate_argnums=0,
            out_shardings=(self.replicated, self.replicated),
        )

    def compile_eval_step(self, eval_step: EvalStep) -> EvalStep:
        """The evaluation step under jit, in either mode; it donates the counts."""
        return jax.jit(
            eval_step, donate_argnums=1, out_shardings=(self.replicated, self.by_example)
        )


def make_devices(config: ParallelConfig, batch_size: int) -> Devices:
    """All the devices JAX sees.

    Raises:
      UserError: there are none, or they do not divide the batch.
    """
    try:
        devices = jax.devices()
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"JAX cannot use the platform that JAX_PLATFORMS asks for ({error}): unset it, or "
            "install the extra for it, such as cuda12"
        ) from error
    if batch_size % len(devices) != 0:
        nearest = max(1, round(batch_size / len(devices))) * len(devices)
        raise UserError(
            f"--batch-size {batch_size} does not divide over {len(devices)} devices: "
            f"choose a multiple of {len(devices)}, such as {nearest}"
        )
    return Devices(Mesh(np.asarray(devices), (AXIS,)), config.mode)


def _pmap_train_step(parts: TrainParts, devices: Devices) -> TrainStep:
    def shard_step(state: TrainState, shard: Batch) -> tuple[TrainState, Metrics]:
        keys = parts.keys(state.step)
        batch = jax.lax.all_gather(shard, AXIS, tiled=True)
        images, targets = parts.prepare(keys.augment, batch)
        index = jax.lax.axis_index(AXIS)
        size = shard["label"].shape[0]
        images, targets = (
            jax.lax.dynamic_slice_in_dim(whole, index * size, size) for whole in (images, targets)
        )
        dropout_key = jax.random.fold_in(keys.dropout, index)
        grads, metrics = parts.gradients(state.params, dropout_key, images, targets)
        grads, metrics = jax.lax.pmean((grads, metrics), AXIS)
        state, more = parts.update(state, grads)
        return state, metrics | more

    # in_axes None: the state is not stacked by device, so it looks the same as under jit.
    step = jax.pmap(
        shard_step,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=(None, None),
        donate_argnums=0,
        devices=list(devices.mesh.devices.flat),
    )

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        shards = jax.tree.map(lambda x: x.reshape(devices.count, -1, *x.shape[1:]), batch)
        return step(state, shards)

    return train_step
