"""Any function of trees on any number of devices and processes: jit over a mesh, or pmap.

Under jit a step is written for the whole batch and XLA splits it, so any number of devices draws
the same. Under pmap each device runs the step on its own shard; the batch is gathered first and the
whole of it is prepared, so that partners are found across devices and draws are one device's. Only
what the losses draw themselves (dropout masks) differs there.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxvit.config import Config
from jaxvit.errors import UserError
from jaxvit.runtime.compiler import jit

AXIS = "data"
Hook = Callable[[Any], Any]


def _identity(tree):
    return tree


class Spread(NamedTuple):
    """What happens between the parts of a step that runs on many devices; by default nothing.

    Attributes:
      whole_batch: the batch that a device is given -> the batch to prepare.
      own_inputs: what was prepared -> the share that this device works on.
      own_key: a key -> this device's.
      whole: parameters as the state holds them -> as a model takes them.
      own: gradients of those -> placed as the state holds its parameters.
      mean: means over a device's share -> means over the batch.
      mean_extra: the same for what a step carries along.
    """

    whole_batch: Hook = _identity
    own_inputs: Hook = _identity
    own_key: Hook = _identity
    whole: Hook = _identity
    own: Hook = _identity
    mean: Hook = _identity
    mean_extra: Hook = _identity


@dataclass(frozen=True)
class Devices:
    """The devices of a run, along one axis, and how they share the work.

    Attributes:
      mesh: all devices of all processes, those of one process side by side.
      mode: jit or pmap.
      shard_params: shard the state over the devices instead of copying it to each.
    """

    mesh: Mesh
    mode: str
    shard_params: bool = False

    @property
    def count(self) -> int:
        return self.mesh.size

    @property
    def axis(self) -> str | None:
        """The name of the axis that a function has to reduce over itself, under pmap."""
        return AXIS if self.mode == "pmap" else None

    @property
    def replicated(self) -> NamedSharding:
        """Every device holds the whole."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def by_example(self) -> NamedSharding:
        """Each device holds its share of the first axis."""
        return NamedSharding(self.mesh, PartitionSpec(AXIS))

    def sharding_of(self, leaf: jax.Array | jax.ShapeDtypeStruct) -> NamedSharding:
        """Where an array of the state lies: whole on every device, or sharded along an axis.

        Sharded is the longest axis that the devices divide; an array without one stays whole.
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

    def place_batch(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        """Starts to copy this process's rows to its devices, each its share, without waiting."""
        return jax.tree.map(
            lambda rows: jax.make_array_from_process_local_data(self.by_example, rows), batch
        )

    def replicate(self, tree):
        """Copies a tree of arrays, the same in every process, to every device."""
        return jax.device_put(tree, self.replicated)

    def create(self, make_state: Callable[[], Any]):
        """The tree that make_state describes, made where it belongs, never whole in one place."""
        shardings = jax.tree.map(self.sharding_of, jax.eval_shape(make_state))
        return jax.jit(make_state, out_shardings=shardings)()

    def spread(self, extra_is_equal: bool = False) -> Spread:
        """The hooks for a step on these devices.

        Args:
          extra_is_equal: under pmap, whether every device computes the same `extra` by itself.
        """
        if self.mode == "pmap":
            return _pmap_spread(self.count, extra_is_equal)
        place = jax.lax.with_sharding_constraint

        def own_inputs(inputs):
            # Without it XLA may run what follows whole on every device.
            return place(inputs, self.by_example)

        if not self.shard_params:
            return Spread(own_inputs=own_inputs)
        return Spread(
            own_inputs=own_inputs,
            # Whole parameters and a share of the batch on each device. Without being told, XLA
            # gathers the batch instead, and shards the layers' matmuls.
            whole=lambda params: place(params, self.replicated),
            own=lambda grads: place(grads, jax.tree.map(self.sharding_of, grads)),
        )

    def compile_step(self, step: Callable) -> Callable:
        """(state, batch) -> (state, metrics), compiled at its first call; it donates the state."""
        if self.mode == "pmap":
            return self._pmap(step)

        def placed_step(state, batch):
            state, metrics = step(state, batch)
            where = jax.tree.map(self.sharding_of, state)
            return jax.lax.with_sharding_constraint((state, metrics), (where, self.replicated))

        return jit(placed_step, donate_argnums=0)

    def compile_score(self, step: Callable) -> Callable:
        """(weights, counts, batch) -> (counts, outputs) under jit, in either mode.

        It donates the counts.
        """

        def gathered(weights, counts, batch):
            return step(jax.lax.with_sharding_constraint(weights, self.replicated), counts, batch)

        return jit(gathered, donate_argnums=1, out_shardings=self.replicated)

    def _pmap(self, step: Callable) -> Callable:
        # in_axes None: the state is not stacked by device, so it looks the same as under jit.
        step = jax.pmap(
            step,
            axis_name=AXIS,
            in_axes=(None, 0),
            out_axes=(None, None),
            donate_argnums=0,
            devices=list(self.mesh.devices.flat),
        )

        def sharded_step(state, batch):
            return step(
                state, jax.tree.map(lambda x: x.reshape(self.count, -1, *x.shape[1:]), batch)
            )

        return sharded_step


def _pmap_spread(count: int, extra_is_equal: bool) -> Spread:
    def own_inputs(inputs):
        index = jax.lax.axis_index(AXIS)

        def share(whole: jax.Array) -> jax.Array:
            size = whole.shape[0] // count
            return jax.lax.dynamic_slice_in_dim(whole, index * size, size)

        return jax.tree.map(share, inputs)

    def mean(tree):
        return jax.lax.pmean(tree, AXIS)

    def mean_of_floats(tree):
        return jax.tree.map(lambda x: mean(x) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)

    return Spread(
        whole_batch=lambda shard: jax.lax.all_gather(shard, AXIS, tiled=True),
        own_inputs=own_inputs,
        own_key=lambda key: jax.random.fold_in(key, jax.lax.axis_index(AXIS)),
        mean=mean,
        mean_extra=_identity if extra_is_equal else mean_of_floats,
    )


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
