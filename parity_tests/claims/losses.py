"""Claim 7: the loss agrees with torch.nn's, and the metrics with torchmetrics'."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
import torchmetrics.classification as tm
from flax import linen as nn

from jaxvit.config import Config, DataConfig
from jaxvit.data.decoded import Split
from jaxvit.objectives.losses import soft_target_cross_entropy
from jaxvit.objectives.metrics import compute_metrics, count, predict
from jaxvit.objectives.targets import smooth_labels
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.runtime.devices import make_devices
from jaxvit.tasks.classification import make_classification
from jaxvit.training.evaluate import make_score
from parity_tests.comparison import LOSS
from parity_tests.evidence import Evidence, Row, at_most, distance, equal
from torch_ref import training_pipeline

TITLE = "Losses and metrics: torch.nn and torchmetrics, with absent classes, ties and short batches"


def measure(quick: bool) -> Evidence:
    return Evidence(loss_rows() + metric_rows() + short_batch_rows())


def loss_rows() -> list[Row]:
    """The cross-entropy of each example, with and without label smoothing."""
    torch.manual_seed(0)
    rows = []
    for smoothing in (0.0, 0.1, 0.5):
        for size in (1.0, 30.0):  # deviation of the logits; 30 nearly saturates softmax
            logits, labels = size * torch.randn(64, 37), torch.randint(37, (64,))
            criterion = torch.nn.CrossEntropyLoss(label_smoothing=smoothing, reduction="none")
            targets = smooth_labels(jnp.asarray(labels.int().numpy()), 37, smoothing)
            ours = jax.jit(soft_target_cross_entropy)(jnp.asarray(logits.numpy()), targets)
            rows.append(
                distance(
                    f"cross-entropy, smoothing {smoothing}, logits of size {size:g}",
                    ours,
                    criterion(logits, labels).numpy(),
                    criterion(logits.double(), labels).numpy(),
                )
            )
    return rows


def metric_rows() -> list[Row]:
    """Metrics and predicted classes, also with absent classes and with equal logits."""
    rows = []
    for case, absent, ties in (
        ("all classes", (), False),
        ("one class absent", (3,), False),
        ("two classes absent", (0, 5), False),
        ("ties", (), True),
    ):
        rng = np.random.default_rng(0)
        logits = rng.normal(size=(300, 6)).astype(np.float32) * 3
        labels = rng.choice([k for k in range(6) if k not in absent], 300).astype(np.int32)
        if absent:
            logits[:, absent[0]] = -20  # so that this class is not predicted either
        if ties:
            logits = logits.round()
        ours = compute_metrics(count(jnp.asarray(logits), jnp.asarray(labels), jnp.ones(300, bool)))
        torch_logits, torch_labels = torch.tensor(logits), torch.tensor(labels).long()
        theirs = {
            name.removeprefix("val_"): float(value)
            for name, value in training_pipeline.make_metrics(6, "val_")(
                torch_logits, torch_labels
            ).items()
        }
        theirs["ece"] = float(
            tm.MulticlassCalibrationError(6, n_bins=15, norm="l1")(torch_logits, torch_labels)
        )
        theirs["loss"] = float(F.cross_entropy(torch_logits.double(), torch_labels))
        theirs["mean_confidence"] = float(torch_logits.double().softmax(1).max(1).values.mean())
        rows += [
            at_most(f"{case}: {name}", "difference", abs(ours[name] - value), LOSS)
            for name, value in theirs.items()
        ]
        predicted = np.asarray(predict(jnp.asarray(logits), jnp.asarray(labels)).label)
        differ = int((predicted != torch_logits.argmax(1).numpy()).sum())
        rows.append(equal(f"{case}: predicted classes", "differing predictions", differ))
    return rows


class Pixels(nn.Module):
    """A model for images of 1 x 1 pixels, whose logits are the channels."""

    num_classes: int
    in_channels: int
    img_size: int = 1

    def __call__(self, images: jax.Array, deterministic: bool = True) -> jax.Array:
        return images[:, 0, 0]


def short_batch_rows() -> list[Row]:
    """A split whose last batch is short, compared with the metrics of all examples at once."""
    rng = np.random.default_rng(1)
    size, classes = 53, 5
    pixels = rng.integers(0, 256, (size, 1, 1, classes), np.uint8)
    split = Split(pixels, np.arange(size), rng.integers(0, classes, size).astype(np.int32), ())

    data = DataConfig(mean=(0.0,) * classes, std=(50 / 255,) * classes)
    config = Config(batch_size=16, data=data)
    task = make_classification(Pixels(classes, classes), *make_optimizer(config.optim, 1), config)
    found = make_score(task, make_devices(config), config.batch_size, seed=0)({}, split).metrics
    logits = torch.tensor(pixels[:, 0, 0].astype(np.float32) / 50)
    labels = torch.tensor(split.labels).long()
    expected = {
        "accuracy": float(tm.MulticlassAccuracy(classes, average="micro")(logits, labels)),
        "loss": float(F.cross_entropy(logits.double(), labels)),
    }
    return [
        at_most(f"53 examples in batches of 16: {n}", "difference", abs(found[n] - v), LOSS)
        for n, v in expected.items()
    ]
