"""Runs functions of trees on any number of devices and processes: jit over a mesh, or pmap.

Under jit a step is written for the whole batch and XLA partitions it, so random draws do not depend
on the number of devices. Under pmap each device runs the step on its own shard of the batch. It
first gathers the whole batch and prepares all of it, so that Mixup and CutMix find partners across
devices and the draws equal those of one device. Only what the losses draw (dropout masks) differs
under pmap.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxvit.config import Config, nearest_multiple
from jaxvit.errors import UserError
from jaxvit.runtime.compiler import compiler_options

AXIS = "data"
Hook = Callable[[Any], Any]


def _identity(tree):
    return tree


class Spread(NamedTuple):
    """Hooks between the parts of a step on many devices; by default each is the identity.

    Attributes:
      whole_batch: a device's shard of the batch -> the batch to prepare.
      own_inputs: the prepared inputs -> the shard that this device computes on.
      own_key: a key -> this device's key.
      whole: parameters as the state stores them, perhaps sharded -> as a model takes them.
      own: gradients of whole parameters -> sharded as the state's parameters are.
      mean: means over a device's shard -> means over the batch.
      mean_extra: the same for `extra`, the arrays that steps carry and do not differentiate.
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
    """The devices of a run, as a mesh with one axis, and how the work is spread over them.

    Attributes:
      mesh: all devices of all processes, with those of one process adjacent.
      mode: "jit" or "pmap".
      shard_params: shard the state over the devices instead of copying it to each.
      convolves: whether the model's layers are convolutions; see compiler_options.
    """

    mesh: Mesh
    mode: str
    shard_params: bool = False
    convolves: bool = False

    @property
    def count(self) -> int:
        """The number of devices, over all processes."""
        return self.mesh.size

    @property
    def axis(self) -> str | None:
        """Under pmap, the axis over which functions must reduce explicitly; None under jit."""
        return AXIS if self.mode == "pmap" else None

    @property
    def replicated(self) -> NamedSharding:
        """Every device holds the whole array."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def by_example(self) -> NamedSharding:
        """Each device holds one shard of the first axis."""
        return NamedSharding(self.mesh, PartitionSpec(AXIS))

    def sharding_of(self, leaf: jax.Array | jax.ShapeDtypeStruct) -> NamedSharding:
        """The sharding of an array of the state: replicated, or sharded along one axis.

        With shard_params, the longest axis whose length is a multiple of the number of devices is
        sharded. An array without such an axis is replicated.
        """
        fitting = [axis for axis, size in enumerate(leaf.shape) if size % self.count == 0]
        if not (self.shard_params and fitting):
            return self.replicated
        longest = max(fitting, key=lambda axis: leaf.shape[axis])
        return NamedSharding(self.mesh, PartitionSpec(*[None] * longest, AXIS))

    def own_rows(self, batch_size: int) -> slice:
        """The rows of a batch that this process reads: those that its devices hold."""
        share = batch_size // jax.process_count()
        return slice(jax.process_index() * share, (jax.process_index() + 1) * share)

    def place_batch(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        """Starts to copy this process's rows to its devices, one shard each, and does not wait."""
        return jax.tree.map(
            lambda rows: jax.make_array_from_process_local_data(self.by_example, rows), batch
        )

    def replicate(self, tree):
        """Copies a tree of arrays, equal in every process, to every device."""
        return jax.device_put(tree, self.replicated)

    def create(self, make_state: Callable[..., Any], *args: Any):
        """make_state(*args), computed with the shardings of sharding_of.

        Each device creates only its shard, so the whole state need not fit on one device.

        Args:
          make_state: traced.
          args: trees of host arrays, which are not compiled into the program.
        """
        shardings = jax.tree.map(self.sharding_of, jax.eval_shape(make_state, *args))
        return jax.jit(make_state, out_shardings=shardings)(*args)

    def spread(self, extra_is_equal: bool = False) -> Spread:
        """The hooks for a step on these devices.

        Args:
          extra_is_equal: under pmap, whether every device computes the same `extra`, which then
            needs no averaging.
        """
        if self.mode == "pmap":
            return _pmap_spread(self.count, extra_is_equal)
        place = jax.lax.with_sharding_constraint

        def own_inputs(inputs):
            # Without this constraint XLA may compute on the whole batch on every device.
            return place(inputs, self.by_example)

        if not self.shard_params:
            return Spread(own_inputs=own_inputs)
        return Spread(
            own_inputs=own_inputs,
            # Each device computes with whole parameters on its shard of the batch. Without these
            # constraints XLA gathers the batch instead, and shards the layers' matmuls.
            whole=lambda params: place(params, self.replicated),
            own=lambda grads: place(grads, jax.tree.map(self.sharding_of, grads)),
        )

    def compile_step(self, step: Callable) -> Callable:
        """(state, batch) -> (state, metrics), compiled at its first call; the state is donated.

        jax.pmap takes no options of the compiler, so under it there are none.
        """
        if self.mode == "pmap":
            return self._pmap(step)

        def placed_step(state, batch):
            state, metrics = step(state, batch)
            where = jax.tree.map(self.sharding_of, state)
            return jax.lax.with_sharding_constraint((state, metrics), (where, self.replicated))

        return jax.jit(
            placed_step,
            donate_argnums=0,
            compiler_options=compiler_options(self.convolves, self.count),
        )

    def compile_score(self, step: Callable) -> Callable:
        """(weights, counts, batch) -> (counts, outputs) under jit, in either mode.

        The counts are donated. The outputs are replicated.
        """

        def gathered(weights, counts, batch):
            return step(jax.lax.with_sharding_constraint(weights, self.replicated), counts, batch)

        return jax.jit(
            gathered,
            donate_argnums=1,
            out_shardings=self.replicated,
            compiler_options=compiler_options(self.convolves, self.count),
        )

    def _pmap(self, step: Callable) -> Callable:
        # in_axes None: the state has no axis of devices, so it has the same shapes as under jit.
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
    """All devices of all processes, for the configured mode.

    Args:
      config: batch_size, grad_accum_steps, parallel.mode and parallel.shard_params.

    Raises:
      UserError: JAX finds no device of the platform asked for, processes have unequal numbers of
        devices, there are several processes under pmap, or the batch size is no multiple of
        devices times grad_accum_steps.
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
            f"--parallel.mode pmap supports one process, and there are {processes}: choose jit"
        )
    multiple = len(devices) * config.grad_accum_steps
    if config.batch_size % multiple != 0:
        parts = f" in {config.grad_accum_steps} parts" if config.grad_accum_steps > 1 else ""
        nearest = nearest_multiple(config.batch_size, multiple)
        raise UserError(
            f"--batch-size {config.batch_size} does not divide{parts} over {len(devices)} devices: "
            f"choose a multiple of {multiple}, such as {nearest}"
        )
    mesh, parallel = Mesh(np.asarray(devices), (AXIS,)), config.parallel
    return Devices(mesh, parallel.mode, parallel.shard_params, config.model.convolves)
