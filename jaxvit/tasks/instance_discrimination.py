"""Instance discrimination: each training image is a class of its own; no label is used to train."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxvit.augment.geometry import resized
from jaxvit.augment.normalize import normalize
from jaxvit.augment.pipeline import make_augment
from jaxvit.augment.views import make_row_views, make_views
from jaxvit.config import Config
from jaxvit.data.decoded import Dataset, Split
from jaxvit.errors import Diverged
from jaxvit.interop.positions import bicubic_antialias_matrix
from jaxvit.interop.pretrained import features_of
from jaxvit.models.instance_classifier import InstanceClassifier, backbone_of
from jaxvit.models.variables import init_variables
from jaxvit.objectives.contrastive import contrastive_loss
from jaxvit.objectives.losses import soft_target_cross_entropy
from jaxvit.objectives.monitors import monitor_of
from jaxvit.objectives.representation import (
    alignment,
    knn_predict,
    retrieval_accuracy,
    share,
    uniformity,
)
from jaxvit.objectives.targets import smooth_labels
from jaxvit.shapes import Array, Float
from jaxvit.tasks.linear_probe import linear_predict
from jaxvit.training.task import (
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

HEADLINE = (("knn_accuracy", ".1%"), ("linear_accuracy", ".1%"))
WITHOUT_LABELS = (("retrieval_accuracy", ".1%"), ("uniformity", ".2f"))


def make_instance_discrimination(
    backbone: nn.Module,
    tx: optax.GradientTransformation,
    schedule: optax.Schedule,
    config: Config,
    data: Dataset,
    axis: str | None = None,
) -> Task:
    """The task of telling each training image from all others, by its views.

    loss = w_i (CE(large views) + CE(small views)) + w_c mean_b L_CN(z of view 0, z of view 1), with
    CE the mean cross-entropy over the N training images. Large and small views are two passes. What
    is averaged, scored and saved for use is the backbone without its head: features.

    Scoring: features of the images, and of two views of each, drawn for each image alone. Metrics:
    accuracies of nearest neighbours and of a linear probe, whose examples are the training images
    (where there are labels), alignment, uniformity and retrieval of views.

    Args:
      backbone: a VisionTransformer with a head for config.instance.z_dim numbers, or without one.
      tx, schedule: see jaxvit.training.task.Phase.
      config: instance, augment, label_smoothing, mean and std of the data.
      data: whose training images are the instances. Stored larger than the model's images, they are
        resized where their features are the examples of both classifiers.
      axis: the pmap axis over which views are gathered for the contrastive loss; None under jit.

    Source: Cao and Wu 2022, arXiv:2201.10728. Torch twin: torch_ref/instance_discrimination.
    """
    mean, std, options = config.data.mean, config.data.std, config.instance
    instances, size = len(data.train), backbone.img_size
    # Two layers of zeros, one behind the other, would learn nothing.
    scheme = "torch" if options.z_dim else config.model.init
    network = InstanceClassifier(
        backbone,
        instances,
        options.z_dim or features_of(config.model),
        scheme,
        options.temperature if options.cosine else None,
    )
    small_size = options.small_size or size
    augment = make_augment(config.augment, mean, std, size)
    large = make_views(augment, options.views)
    small_augment = replace(config.augment, crop_scale=options.small_scale)
    small = make_views(make_augment(small_augment, mean, std, small_size), options.small_views)
    alone = replace(config.augment, mixup_alpha=0.0, cutmix_alpha=0.0)
    two_views = make_row_views(make_augment(alone, mean, std, size), 2)
    small_network = network.clone(backbone=backbone.clone(img_size=small_size))
    resize = None
    if small_size != size:
        resize = _make_resize(size // backbone.patch_size, small_size // backbone.patch_size)

    def prepare(key: jax.Array, batch: dict) -> Inputs:
        targets = smooth_labels(batch["index"], instances, config.label_smoothing)
        keys = jax.random.split(key)
        images, mixed = large(keys[0], batch["image"], targets)
        inputs = {"images": images, "targets": mixed, "index": batch["index"]}
        if options.small_views:
            images, mixed = small(keys[1], batch["image"], targets)
            inputs |= {"small_images": images, "small_targets": mixed}
        return inputs

    def of_views(
        network: nn.Module, params: Params, key: jax.Array, images: Array, targets: Array
    ) -> tuple[Array, Array, Array]:
        """z (B, V, Z), the mean cross-entropy, and the share of views told from all others."""
        flat, wanted = (each.reshape(-1, *each.shape[2:]) for each in (images, targets))
        z, logits = network.apply({"params": params}, flat, False, rngs={"dropout": key})
        right = jnp.argmax(logits, axis=-1) == jnp.argmax(wanted, axis=-1)
        losses = soft_target_cross_entropy(logits, wanted)
        return z.reshape(*images.shape[:2], -1), losses.mean(), right.mean()

    def loss(
        params: Params, extra: Extra, key: jax.Array, inputs: Inputs
    ) -> tuple[jax.Array, tuple[Extra, Metrics]]:
        keys = jax.random.split(key)
        z, entropy, right = of_views(network, params, keys[0], inputs["images"], inputs["targets"])
        if options.small_views:
            fitting = params if resize is None else _with_positions(params, resize)
            _, added, _ = of_views(
                small_network, fitting, keys[1], inputs["small_images"], inputs["small_targets"]
            )
            entropy += added
        total, found = options.instance_weight * entropy, {"accuracy": right}
        found["loss_instance"] = entropy
        if options.contrastive_weight:
            pair, index = (z[:, 0], z[:, 1]), inputs["index"]
            if axis is not None:
                gathered = jax.lax.all_gather((*pair, index), axis, tiled=True)
                pair, index = gathered[:2], gathered[2]
            found["loss_contrastive"] = contrastive_loss(*pair, index, options.temperature).mean()
            total += options.contrastive_weight * found["loss_contrastive"]
        return total, (extra, found)

    def features(weights: Weights, images: Float[Array, "B H W C"]) -> Float[Array, "B F"]:
        return backbone.apply({"params": weights}, images, True, method="features")

    def compare(weights: Weights, key: jax.Array, batch: dict) -> tuple[Counts, Outputs]:
        images = resized(normalize(batch["image"], mean, std), size)
        return {"images": batch["mask"].sum()}, {"features": features(weights, images)}

    def score(weights: Weights, key: jax.Array, batch: dict) -> tuple[Counts, Outputs]:
        keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(batch["index"])
        views = two_views(keys, batch["image"])
        counts, outputs = compare(weights, key, batch)
        of_views = {
            "view_a": features(weights, views[:, 0]),
            "view_b": features(weights, views[:, 1]),
        }
        return counts, outputs | of_views

    return Task(
        init=lambda key: init_variables(network, key),
        prepare=prepare,
        phases=(Phase(loss, tx, schedule),),
        weights=lambda params, extra: backbone_of(params),
        score=score,
        metrics=lambda counts: {},
        monitor=monitor_of(config.method, config.monitor, config.data.labels),
        headline=HEADLINE if config.data.labels else WITHOUT_LABELS,
        couples=bool(options.contrastive_weight),
        axis=axis,
        uses_index=True,
        probe=make_probe(data.train, len(data.class_names)),
        compare=compare,
    )


def make_probe(train: Split, classes: int) -> Callable[..., dict[str, float]]:
    """(outputs_of, split) -> the metrics of a split's features; see make_instance_discrimination.

    Args:
      train: the labelled examples of both classifiers.
      classes: K; below 2 there is nothing to classify.
    """

    def probe(outputs_of: Callable[[Any], Outputs], split: Split) -> dict[str, float]:
        outputs = outputs_of(split)
        if not np.isfinite(outputs["features"]).all():
            raise Diverged("the features of validated images are no finite numbers")
        found = {
            "alignment": alignment(outputs["view_a"], outputs["view_b"]),
            "uniformity": uniformity(outputs["features"]),
            "retrieval_accuracy": retrieval_accuracy(outputs["view_a"], outputs["view_b"]),
        }
        if classes < 2:
            return found
        features, queries = np.asarray(outputs_of(train)["features"]), outputs["features"]
        by_neighbours = knn_predict(queries, features, train.labels, classes)
        by_probe = linear_predict(queries, features, train.labels)
        return {
            **share(by_neighbours == split.labels, "knn_accuracy"),
            **share(by_probe == split.labels, "linear_accuracy"),
            **found,
        }

    return probe


def _make_resize(grid: int, small: int) -> Callable[[Array], Array]:
    """Positions (1, 1 + grid^2, D) for small by small patches, as timm resizes them."""
    matrix = jnp.asarray(bicubic_antialias_matrix(grid, small), jnp.float32)

    def resize(positions: Float[Array, "1 N D"]) -> Float[Array, "1 M D"]:
        square = positions[0, 1:].reshape(grid, grid, -1)
        resized = jnp.einsum("ia,jb,abd->ijd", matrix, matrix, square)
        return jnp.concatenate([positions[:, :1], resized.reshape(1, small * small, -1)], axis=1)

    return resize


def _with_positions(params: Params, resize: Callable[[Array], Array]) -> Params:
    backbone = params["backbone"]
    positions = {"positional_embedding": resize(backbone["positional_embedding"])}
    return {**params, "backbone": {**backbone, **positions}}
