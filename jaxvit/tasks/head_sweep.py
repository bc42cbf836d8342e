"""The weight decay of a head on frozen features, chosen on validation."""

import math
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvit.config import Config
from jaxvit.data.decoded import Dataset
from jaxvit.data.loader import train_batches
from jaxvit.errors import UserError
from jaxvit.objectives.losses import soft_target_cross_entropy
from jaxvit.objectives.targets import balanced_weights, smooth_labels
from jaxvit.optim.optimizers import make_optimizer

DECAYS = (0.01, 0.1, 0.3, 1.0, 3.0)


class Sweep(NamedTuple):
    """What was tried.

    Attributes:
      decay: of the lowest validation loss.
      losses: validation loss, in nats, of each of DECAYS.
    """

    decay: float
    losses: tuple[float, ...]

    def __str__(self) -> str:
        tried = ", ".join(
            f"{decay:g}: {loss:.4f}" for decay, loss in zip(DECAYS, self.losses, strict=True)
        )
        return f"weight decay {self.decay:g} has the lowest validation loss ({tried})"


def sweep_decay(
    data: Dataset,
    config: Config,
    total_steps: int,
    steps_per_epoch: Fraction,
    class_weights: np.ndarray | None = None,
) -> Sweep:
    """Trains a linear head with each of DECAYS, all at once, and scores them on validation.

    The heads start at zero and take the batches and the optimiser of the run, each with its own
    decay; the optimiser's other values are those of config.optim. The loss decides, not the
    accuracy, which on a small validation split is the same for many decays.

    Args:
      data: with features.
      config: batch_size, seed, label_smoothing and optim.
      total_steps, steps_per_epoch: of the run, for the schedule.
      class_weights: as for make_classification. Where given, classes count alike on validation too,
        by their numbers there.

    Raises:
      UserError: every head diverged.
    """
    classes = len(data.class_names)
    batches = train_batches(data.train, config.batch_size, config.seed, with_index=True)
    order = np.stack([next(batches)["index"] for _ in range(total_steps)])
    features, labels = data.train.features, data.train.labels
    val_features, val_labels = data.val.features, data.val.labels
    weights = on_val = jnp.ones(classes)
    if class_weights is not None:
        weights = jnp.asarray(class_weights)
        on_val = balanced_weights(np.bincount(val_labels, minlength=classes).clip(min=1))

    def loss(head, features, labels, smoothing: float, weights):
        targets = smooth_labels(labels, classes, smoothing)
        logits = features @ head["kernel"] + head["bias"]
        return (soft_target_cross_entropy(logits, targets) * (targets @ weights)).mean()

    def trained_and_scored(decay, order, features, labels, val_features, val_labels):
        tx, _ = make_optimizer(config.optim, total_steps, steps_per_epoch, decay)
        head = {"kernel": jnp.zeros((features.shape[1], classes)), "bias": jnp.zeros(classes)}
        params = {"head": head}

        def step(carry, rows):
            params, state = carry
            grads = jax.grad(loss)(
                params["head"], features[rows], labels[rows], config.label_smoothing, weights
            )
            updates, state = tx.update({"head": grads}, state, params)
            return (optax.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), order)
        return loss(params["head"], val_features, val_labels, 0.0, on_val)

    # The arrays are arguments: closed over, they would be constants of the program.
    every_decay = jax.jit(jax.vmap(trained_and_scored, in_axes=(0, *[None] * 5)))
    losses = every_decay(jnp.asarray(DECAYS), order, features, labels, val_features, val_labels)
    losses = tuple(float(x) if np.isfinite(x) else math.inf for x in losses)
    if min(losses) == math.inf:
        raise UserError(
            f"the head diverges with every weight decay: lower --optim.lr {config.optim.lr:g}"
        )
    return Sweep(DECAYS[int(np.argmin(losses))], losses)
