"""The same step on any number of devices and processes: jit over a mesh, or pmap.

Under jit the step is written for the whole batch and XLA splits it, so any number of devices
draws the same augmentations and the same dropout masks. Under pmap each device runs the step on
its own shard; the batch is gathered first and the whole of it is augmented, so that partners are
found across devices and draws are one device's draws. Only the dropout masks differ there.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxvit.compiler import jit
from jaxvit.config import Config, UserError
from jaxvit.metrics import Counts, Prediction
from jaxvit.state import Params, TrainState
from jaxvit.steps import (
    Batch,
    EvalStep,
    Gradients,
    Metrics,
    TrainParts,
    TrainStep,
    make_train_step,
)

AXIS = "data"


@dataclass(frozen=True)
class Devices:
    """The devices of a run, along one axis, and how they share the work.

    Attributes:
      mesh: all devices of all processes, those of one process side by side.
      mode: jit or pmap.
      shard_params: cut the state over the devices instead of copying it to each.
    """

    mesh: Mesh
    mode: str
    shard_params: bool = False

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

    def sharding_of(self, leaf: jax.Array | jax.ShapeDtypeStruct) -> NamedSharding:
        """Where an array of the state lies: whole on every device, or cut along an axis.

        Cut is the longest axis that the devices divide; an array without one stays whole.
        """
        fitting = [axis for axis, size in enumerate(leaf.shape) if size % self.count == 0]
        if not (self.shard_params and fitting):
            return self.replicated
        longest = max(fitting, key=lambda axis: leaf.shape[axis])
        return NamedSharding(self.mesh, PartitionSpec(*[None] * longest, AXIS))

    def own_rows(self, batch_size: int) -> slice:
        """The rows of a batch that this process reads: those of its devices."""
        share = batch_size // jax.process_count()
        return slice(jax.process_index() * share, (jax.process_index() + 1) * share)

    def place_batch(self, batch: dict[str, np.ndarray]) -> Batch:
        """Starts to copy this process's rows to its devices, each its share, without waiting."""
        return jax.tree.map(
            lambda rows: jax.make_array_from_process_local_data(self.by_example, rows), batch
        )

    def replicate(self, tree):
        """Copies a tree of arrays, the same in every process, to every device."""
        return jax.device_put(tree, self.replicated)

    def create(self, make_state: Callable[[], TrainState]) -> TrainState:
        """The state that make_state describes, made where it belongs, never whole in one place."""
        shardings = jax.tree.map(self.sharding_of, jax.eval_shape(make_state))
        return jax.jit(make_state, out_shardings=shardings)()

    def compile_train_step(self, parts: TrainParts) -> TrainStep:
        """The step, compiled at its first call; it donates the state it is given."""
        if self.mode == "pmap":
            return _pmap_train_step(parts, self)
        if self.shard_params:
            parts = parts._replace(gradients=self._gather_around(parts.gradients))
        train_step = make_train_step(parts)

        def placed_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
            state, metrics = train_step(state, batch)
            where = jax.tree.map(self.sharding_of, state)
            return jax.lax.with_sharding_constraint((state, metrics), (where, self.replicated))

        return jit(placed_step, donate_argnums=0)

    def _gather_around(self, gradients: Gradients) -> Gradients:
        """Whole parameters and a share of the batch on each device; gradients cut again.

        Without being told, XLA gathers the batch instead, and cuts the layers' products.
        """
        place = jax.lax.with_sharding_constraint

        def gathered(params: Params, key: jax.Array, images, targets) -> tuple[Params, Metrics]:
            params = place(params, self.replicated)
            images, targets = place((images, targets), self.by_example)
            grads, metrics = gradients(params, key, images, targets)
            return place(grads, jax.tree.map(self.sharding_of, grads)), metrics

        return gathered

    def compile_eval_step(self, eval_step: EvalStep) -> EvalStep:
        """The evaluation step under jit, in either mode; it donates the counts."""

        def gathered(params: Params, counts: Counts, batch: Batch) -> tuple[Counts, Prediction]:
            params = jax.lax.with_sharding_constraint(params, self.replicated)
            return eval_step(params, counts, batch)

        return jit(gathered, donate_argnums=1, out_shardings=self.replicated)


def make_devices(config: Config) -> Devices:
    """All the devices that JAX sees, in all processes.

    Raises:
      UserError: there are none, or they do not divide the batch, or processes have unequal
        numbers of them, or pmap is asked to serve many processes.
    """
    try:
        devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"JAX cannot use the platform that JAX_PLATFORMS asks for ({error}): unset it, or "
            "install the extra for it, such as cuda12"
        ) from error
    processes = jax.process_count()
    per_process = Counter(device.process_index for device in devices)
    if len(set(per_process.values())) > 1:
        raise UserError(
            f"the processes have {', '.join(map(str, per_process.values()))} devices: give each "
            "the same number"
        )
    if processes > 1 and config.parallel.mode == "pmap":
        raise UserError(
            f"--parallel.mode pmap serves one process, and there are {processes}: choose jit"
        )
    multiple = len(devices) * config.grad_accum_steps
    if config.batch_size % multiple != 0:
        parts = f" in {config.grad_accum_steps} parts" if config.grad_accum_steps > 1 else ""
        nearest = max(1, round(config.batch_size / multiple)) * multiple
        raise UserError(
            f"--batch-size {config.batch_size} does not divide{parts} over {len(devices)} devices: "
            f"choose a multiple of {multiple}, such as {nearest}"
        )
    shard_params = config.parallel.shard_params
    return Devices(Mesh(np.asarray(devices), (AXIS,)), config.parallel.mode, shard_params)


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
