"""The training and evaluation steps of any task, on any devices.

A step is written once, for a whole batch. `Spread` (jaxvit.runtime.devices) says what has to happen
between its parts where it runs on many devices; on one device every hook is the identity.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvit.config import Config
from jaxvit.errors import UserError
from jaxvit.optim.averaging import update_average
from jaxvit.optim.plateau import plateau_scale
from jaxvit.runtime.devices import AXIS, Devices, Spread
from jaxvit.shapes import Array
from jaxvit.training.state import TrainState
from jaxvit.training.task import (
    Batch,
    Counts,
    Extra,
    Inputs,
    Metrics,
    Outputs,
    Params,
    Phase,
    Task,
    Weights,
)

TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
ScoreStep = Callable[[Weights, Counts, Batch], tuple[Counts, Outputs]]
# (params, extra, key, inputs) -> (gradients, extra, metrics)
Gradients = Callable[[Params, Extra, jax.Array, Inputs], tuple[Params, Extra, Metrics]]


def step_keys(seed: int, step: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The randomness of one step, for `prepare` and for the losses: fold_in(key(seed), step)."""
    key_prepare, key_loss = jax.random.split(jax.random.fold_in(jax.random.key(seed), step))
    return key_prepare, key_loss


def make_train_step(
    task: Task,
    *,
    seed: int,
    average_decay: float | optax.Schedule = 0.0,
    grad_accum_steps: int = 1,
    spread: Spread = Spread(),  # noqa: B008 - immutable
) -> TrainStep:
    """(state, batch) -> (state, metrics).

    Metrics are those of the batch as it was trained on: `loss` and what the loss reports, and
    `grad_norm` (before clipping) and `learning_rate`. With several phases each name carries its
    phase's: `loss/discriminator`.

    Args:
      task: what is trained.
      seed: with the step, fixes every draw.
      average_decay: d in average = d average + (1 - d) weights, where the state has an average; or
        step -> d, where the step counts from 0.
      grad_accum_steps: micro-batches of a batch, whose gradients are averaged; divides it.
      spread: what happens between the parts on many devices.
    """

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key_prepare, key_loss = step_keys(seed, state.step)
        inputs = spread.own_inputs(task.prepare(key_prepare, spread.whole_batch(batch)))
        key_loss = spread.own_key(key_loss)
        params, extra, opt_states, metrics = state.params, state.extra, [], {}
        for number, (phase, opt_state) in enumerate(zip(task.phases, state.opt_state, strict=True)):
            gradients = accumulate(make_gradients(phase), grad_accum_steps)
            grads, extra, found = gradients(spread.whole(params), extra, key_loss, inputs)
            grads, extra, found = spread.mean(grads), spread.mean_extra(extra), spread.mean(found)
            trained, grads = phase.trained(params), spread.own(grads)
            updates, opt_state = phase.tx.update(grads, opt_state, trained)
            params = phase.with_trained(params, optax.apply_updates(trained, updates))
            opt_states.append(opt_state)
            rate = jnp.asarray(phase.schedule(state.step), jnp.float32)
            scale = plateau_scale(opt_state)
            found |= {
                "grad_norm": optax.global_norm(grads),  # before clipping
                "learning_rate": rate if scale is None else rate * scale,
            }
            phase_name = phase.trains if isinstance(phase.trains, str) else number
            suffix = f"/{phase_name}" if len(task.phases) > 1 else ""
            metrics |= {name + suffix: value for name, value in found.items()}
        averages = state.averages
        if averages is not None:
            before = task.weights(state.params, state.extra)
            decay = average_decay(state.step) if callable(average_decay) else average_decay
            averages = update_average(averages, task.weights(params, extra), decay, before)
        new = TrainState(state.step + 1, params, extra, tuple(opt_states), averages)
        chex.assert_trees_all_equal_shapes_and_dtypes(state, new)
        return new, metrics

    return train_step


def make_gradients(phase: Phase) -> Gradients:
    """The gradients of one phase, of what it trains."""

    def gradients(
        params: Params, extra: Extra, key: jax.Array, inputs: Inputs
    ) -> tuple[Params, Extra, Metrics]:
        def loss_of(trained: Params) -> tuple[jax.Array, tuple[Extra, Metrics]]:
            return phase.loss(phase.with_trained(params, trained), extra, key, inputs)

        value_and_grad = jax.value_and_grad(loss_of, has_aux=True)
        (loss, (extra_after, metrics)), grads = value_and_grad(phase.trained(params))
        chex.assert_rank(loss, 0)
        return grads, extra_after, {"loss": loss} | metrics

    return gradients


def accumulate(gradients: Gradients, steps: int) -> Gradients:
    """The gradients of a batch from `steps` equal parts of it, one after the other: their mean.

    Activations are held for one part at a time. The batch was augmented whole, so only the losses'
    own draws, whose key is fold_in(key, part), differ from those without it. `extra` is handed from
    part to part.

    Args:
      gradients: of means over the examples it is given.
      steps: divides the batch.
    """
    if steps == 1:
        return gradients

    def parts_of(x: Array) -> Array:
        # Part j takes every steps-th example from j on, so that each device has a share of it.
        return x.reshape(-1, steps, *x.shape[1:]).swapaxes(0, 1)  # (steps, B / steps, ...)

    def accumulated(
        params: Params, extra: Extra, key: jax.Array, inputs: Inputs
    ) -> tuple[Params, Extra, Metrics]:
        def add(carry, part):
            sums, extra = carry
            index, inputs = part
            grads, extra, metrics = gradients(params, extra, jax.random.fold_in(key, index), inputs)
            return (jax.tree.map(jnp.add, sums, (grads, metrics)), extra), None

        parts = jax.tree.map(parts_of, inputs)
        first = jax.tree.map(lambda x: x[0], parts)
        grads, _, metrics = jax.eval_shape(gradients, params, extra, key, first)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (grads, metrics))
        (sums, extra), _ = jax.lax.scan(add, (zeros, extra), (jnp.arange(steps), parts))
        grads, metrics = jax.tree.map(lambda x: x / steps, sums)
        return grads, extra, metrics

    return accumulated


def compile_train_step(
    task: Task,
    devices: Devices,
    config: Config,
    average_decay: float | optax.Schedule | None = None,
) -> TrainStep:
    """The training step on the devices, compiled at its first call; it donates its state.

    Args:
      task: what is trained.
      devices: where.
      config: seed, grad_accum_steps and optim.ema_decay.
      average_decay: see make_train_step; None for config.optim.ema_decay.

    Raises:
      UserError: pmap for a task whose examples depend on each other and that does not gather them.
    """
    if devices.mode == "pmap" and task.couples and task.axis != AXIS:
        raise UserError(
            "--parallel.mode pmap does not fit this method, whose loss relates the examples of a "
            "whole batch to each other: choose --parallel.mode jit"
        )
    step = make_train_step(
        task,
        seed=config.seed,
        average_decay=config.optim.ema_decay if average_decay is None else average_decay,
        grad_accum_steps=config.grad_accum_steps,
        spread=devices.spread(extra_is_equal=task.axis == AXIS),
    )
    return devices.compile_step(step)


def make_score_step(task: Task, seed: int) -> ScoreStep:
    """(weights, counts, batch) -> (counts with this batch's added, one output for each row)."""

    def score_step(weights: Weights, counts: Counts, batch: Batch) -> tuple[Counts, Outputs]:
        added, outputs = task.score(weights, jax.random.key(seed), batch)
        return jax.tree.map(jnp.add, counts, added), outputs

    return score_step


def prepared_sample(task: Task, seed: int, split, size: int = 32) -> Inputs:
    """Examples as the first step would prepare them, for a person to look at.

    Args:
      split: has a length, and take(rows) -> host batch; sampled evenly from end to end.
      size: examples, fewer where the split has fewer.
    """
    rows = np.linspace(0, len(split) - 1, min(size, len(split))).astype(int)
    batch = split.take(rows, with_index=task.uses_index)
    return jax.device_get(jax.jit(task.prepare)(step_keys(seed, jnp.int32(0))[0], batch))
