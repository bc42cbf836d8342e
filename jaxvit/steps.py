"""The training and evaluation steps: pure functions with no idea of devices.

A training step has three parts, for whoever spreads it over devices may have to work between them:
`prepare` (targets, augmentation), `gradients` (model, loss) and `update` (optimiser, average).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxvit.augment.normalize import normalize
from jaxvit.augment.pipeline import Augment
from jaxvit.losses import soft_target_cross_entropy
from jaxvit.metrics import Counts, Prediction, count, predict
from jaxvit.shapes import Array, Float
from jaxvit.state import Params, TrainState
from jaxvit.targets import smooth_labels

Batch = dict[str, jax.Array]  # image uint8 (B, H, W, C), label int32 (B,); mask bool (B,) to score
Metrics = dict[str, jax.Array]  # scalars
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
EvalStep = Callable[[Params, Counts, Batch], tuple[Counts, Prediction]]


class StepKeys(NamedTuple):
    """The randomness of one step."""

    augment: jax.Array
    dropout: jax.Array


Gradients = Callable[[Params, jax.Array, Array, Array], tuple[Params, Metrics]]


class TrainParts(NamedTuple):
    """One training step, in the order in which its parts run."""

    keys: Callable[[jax.Array], StepKeys]
    prepare: Callable[[jax.Array, Batch], tuple[Array, Array]]
    gradients: Gradients
    update: Callable[[TrainState, Params], tuple[TrainState, Metrics]]


def make_train_parts(
    model: nn.Module,
    tx: optax.GradientTransformation,
    augment: Augment,
    schedule: optax.Schedule,
    *,
    seed: int,
    label_smoothing: float,
    ema_decay: float = 0.0,
    grad_accum_steps: int = 1,
) -> TrainParts:
    """The parts of the training step.

    Args:
      model: called as model.apply({"params": params}, images, deterministic, rngs=...).
      tx: the optimiser.
      augment: see jaxvit.augment.pipeline.make_augment.
      schedule: the learning rate that tx uses, to be reported.
      seed: with the step, fixes every draw: key = fold_in(key(seed), step).
      label_smoothing: eps in [0, 1).
      ema_decay: d in ema = d ema + (1 - d) params; used where the state carries an average.
      grad_accum_steps: parts into which a batch is cut for its gradients; divides it.
    """

    def keys(step: jax.Array) -> StepKeys:
        return StepKeys(*jax.random.split(jax.random.fold_in(jax.random.key(seed), step)))

    def prepare(key: jax.Array, batch: Batch) -> tuple[Array, Array]:
        targets = smooth_labels(batch["label"], model.num_classes, label_smoothing)
        return augment(key, batch["image"], targets)

    def gradients(
        params: Params,
        key: jax.Array,
        images: Float[Array, "B H W C"],
        targets: Float[Array, "B K"],
    ) -> tuple[Params, Metrics]:
        def mean_loss(params: Params) -> tuple[jax.Array, jax.Array]:
            logits = model.apply(
                {"params": params}, images, deterministic=False, rngs={"dropout": key}
            )
            return soft_target_cross_entropy(logits, targets).mean(), logits

        (loss, logits), grads = jax.value_and_grad(mean_loss, has_aux=True)(params)
        # With mixed targets, right means the class with the greater share.
        right = jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1)
        return grads, {"loss": loss, "accuracy": right.mean()}

    def update(state: TrainState, grads: Params) -> tuple[TrainState, Metrics]:
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema_params = state.ema_params
        if ema_params is not None:
            ema_params = optax.incremental_update(params, ema_params, 1 - ema_decay)
        metrics = {
            "grad_norm": optax.global_norm(grads),  # before clipping
            "learning_rate": jnp.asarray(schedule(state.step), jnp.float32),
        }
        return TrainState(state.step + 1, params, opt_state, ema_params), metrics

    return TrainParts(keys, prepare, accumulate(gradients, grad_accum_steps), update)


def accumulate(gradients: Gradients, steps: int) -> Gradients:
    """The gradients of a batch from `steps` equal parts of it, one after the other: their mean.

    Activations are held for one part at a time. The batch was augmented whole, so only dropout,
    whose key is fold_in(key, part), draws otherwise than without it.

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
        params: Params, key: jax.Array, images: Array, targets: Array
    ) -> tuple[Params, Metrics]:
        def add(sums, part):
            index, images, targets = part
            found = gradients(params, jax.random.fold_in(key, index), images, targets)
            return jax.tree.map(jnp.add, sums, found), None

        parts = jnp.arange(steps), parts_of(images), parts_of(targets)
        shapes = jax.eval_shape(gradients, params, key, *(x[0] for x in parts[1:]))
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        sums, _ = jax.lax.scan(add, zeros, parts)
        return jax.tree.map(lambda x: x / steps, sums)

    return accumulated


def augmented_sample(parts: TrainParts, split, size: int = 32) -> tuple[Array, Array]:
    """Images and soft targets as the first step would see them, for a person to look at.

    Args:
      split: has a length, and take(indices) -> host batch; sampled evenly from end to end.
      size: images, fewer where the split has fewer.
    """
    rows = np.linspace(0, len(split) - 1, min(size, len(split))).astype(int)
    key = parts.keys(jnp.int32(0)).augment
    return jax.device_get(jax.jit(parts.prepare)(key, split.take(rows)))


def make_train_step(parts: TrainParts) -> TrainStep:
    """(state, batch) -> (state, metrics): the loss is the mean over the batch.

    The metrics are those of the batch as it was trained on: loss against the smoothed and mixed
    targets, accuracy against their greater share, grad_norm, and learning_rate.
    """

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        keys = parts.keys(state.step)
        images, targets = parts.prepare(keys.augment, batch)
        grads, metrics = parts.gradients(state.params, keys.dropout, images, targets)
        state, more = parts.update(state, grads)
        return state, metrics | more

    return train_step


def make_eval_step(model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> EvalStep:
    """(params, counts, batch) -> (counts with this batch's added, predictions).

    Unsmoothed, without dropout or augmentation; rows whose mask is False count nowhere.
    """

    def eval_step(params: Params, counts: Counts, batch: Batch) -> tuple[Counts, Prediction]:
        images = normalize(batch["image"], mean, std)
        logits = model.apply({"params": params}, images, deterministic=True)
        added = count(logits, batch["label"], batch["mask"])
        return jax.tree.map(jnp.add, counts, added), predict(logits)

    return eval_step
