"""Supervised classification: soft targets, augmentation, a classifier, cross-entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxvit.augment.normalize import normalize
from jaxvit.augment.pipeline import make_augment
from jaxvit.config import Config
from jaxvit.models.batch_norm import statistics_of_batch
from jaxvit.models.variables import init_variables, joined, split
from jaxvit.objectives.losses import soft_target_cross_entropy
from jaxvit.objectives.metrics import compute_metrics, count, predict
from jaxvit.objectives.monitors import monitor_of
from jaxvit.objectives.targets import smooth_labels
from jaxvit.optim.groups import trained_paths
from jaxvit.training.task import Extra, Inputs, Metrics, Params, Phase, Task, Weights

HEADLINE = (("loss", ".3f"), ("accuracy", ".2%"), ("ece", ".3f"))


def make_classification(
    model: nn.Module,
    tx: optax.GradientTransformation,
    schedule: optax.Schedule,
    config: Config,
    class_weights: np.ndarray | None = None,
    axis: str | None = None,
) -> Task:
    """The task of the laboratory, for any model and optimiser.

    Training: loss = mean_b cross_entropy(model(augment(x_b)), smoothed and mixed target of b).
    Scoring: unsmoothed, without dropout or augmentation. The best state is that of the highest
    accuracy; of equals, that of the lowest loss.

    Where config.data.cache_features says so, batches hold the features of a frozen backbone in
    place of images, and model.classify(features) gives the logits.

    What a model carries besides its parameters, the statistics of BatchNorm, is the task's `extra`,
    and the loss of an example then depends on the others of its batch, unless the backbone is
    frozen: then it uses its running statistics, and leaves them as they are.

    Args:
      model: called as model.apply({"params": params, **extra}, images, deterministic, rngs=...,
        mutable=...), with attributes img_size, in_channels and num_classes.
      tx, schedule: see jaxvit.training.task.Phase.
      config: augment, label_smoothing, mean and std of the data, and optim.freeze, which is for
        Vision Transformers. Frozen layers drop what the configuration says, as others do.
      class_weights: (K,), by which the losses of examples are multiplied; where targets are mixed
        or smoothed, by the mean of the weights under the target. None for 1.
      axis: the pmap axis over which the model's batch statistics are computed, or None under jit.
    """
    mean, std = config.data.mean, config.data.std
    augment = make_augment(config.augment, mean, std, model.img_size)

    shapes, carried = jax.eval_shape(lambda key: init_variables(model, key), jax.random.key(0))
    frozen = config.optim.freeze == "backbone"

    def logits_of(
        params: Params,
        extra: Extra,
        inputs: Inputs,
        key: jax.Array | None,
        model: nn.Module = model,
    ) -> tuple[jax.Array, Extra]:
        """For training, with a key for dropout, the logits and extra as it is after them."""
        variables = {"params": params, **extra}
        if "features" in inputs:
            return model.apply(variables, inputs["features"], method="classify"), extra
        if key is None:
            return model.apply(variables, inputs["images"], deterministic=True), extra
        return model.apply(
            variables, inputs["images"], False, rngs={"dropout": key}, mutable=list(extra)
        )

    def prepare(key: jax.Array, batch: dict) -> Inputs:
        targets = smooth_labels(batch["label"], model.num_classes, config.label_smoothing)
        if "features" in batch:
            return {"features": batch["features"], "targets": targets}
        images, targets = augment(key, batch["image"], targets)
        return {"images": images, "targets": targets}

    def loss(
        params: Params, extra: Extra, key: jax.Array, inputs: Inputs
    ) -> tuple[jax.Array, tuple[Extra, Metrics]]:
        targets = inputs["targets"]
        logits, extra = logits_of(params, extra, inputs, key)
        # With mixed targets, right means the class with the greater share.
        right = jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1)
        losses = soft_target_cross_entropy(logits, targets)
        if class_weights is not None:
            losses = losses * (targets @ class_weights)
        return losses.mean(), (extra, {"accuracy": right.mean()})

    def statistics(weights: Weights, inputs: Inputs) -> Extra:
        params, extra = split(weights)
        key = jax.random.key(0)

        def update(model: nn.Module, running: Extra) -> Extra:
            return logits_of(params, running, inputs, key, model)[1]

        return statistics_of_batch(model, extra, update)

    def score(weights: Weights, key: jax.Array, batch: dict):
        if "features" not in batch:
            batch = batch | {"images": normalize(batch["image"], mean, std)}
        logits, _ = logits_of(*split(weights), batch, key=None)
        return count(logits, batch["label"], batch["mask"]), predict(logits, batch["label"])

    trains = None
    if config.optim.freeze != "none":
        trains = trained_paths(shapes, config.optim.freeze)
    return Task(
        init=lambda key: init_variables(model, key),
        prepare=prepare,
        phases=(Phase(loss, tx, schedule, trains),),
        weights=joined,
        score=score,
        metrics=compute_metrics,
        monitor=monitor_of(config.method, config.monitor),
        headline=HEADLINE,
        couples=bool(carried) and not frozen,
        axis=axis,
        statistics=statistics if carried and not frozen else None,
    )
