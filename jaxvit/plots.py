"""The pictures of a run: curves, confusion, reliability, augmented images, mistakes."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxvit.config import Config
from jaxvit.data.datasets import Dataset
from jaxvit.evaluate import Evaluation
from jaxvit.metrics import NUM_BINS, Counts

TRAIN, VAL, GREY = "#4477aa", "#cc6677", "#999999"
MAX_TICKS = 40  # more class names than this no longer fit beside a matrix
MAX_MISTAKES = 24


def plot_report(
    directory: Path,
    lines: list[dict[str, float]],
    data: Dataset,
    test: Evaluation,
    images: np.ndarray,
    targets: np.ndarray,
    config: Config,
) -> None:
    """All the pictures of a finished run.

    Args:
      directory: that takes the PNG files.
      lines: of metrics.jsonl.
      data: whose test split was scored.
      test: the scores.
      images, targets: a sample of augmented training images, normalised, with soft targets.
      config: of the run.
    """
    # matplotlib reads what stands between two dollars as mathematics.
    data = data._replace(class_names=[name.replace("$", r"\$") for name in data.class_names])
    # Its font has not every script; a box stands for what is missing.
    warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
    plot_curves(lines, directory / "curves.png")
    plot_confusion_matrix(
        test.counts, data.class_names, test.metrics["accuracy"], directory / "confusion_matrix.png"
    )
    plot_reliability(test.counts, test.metrics["ece"], directory / "reliability.png")
    plot_augmented(
        images,
        targets,
        config.label_smoothing / len(data.class_names),
        data.class_names,
        config.data.mean,
        config.data.std,
        directory / "augmented_images.png",
    )
    wrong = np.flatnonzero(test.labels != data.test.labels)
    wrong = wrong[np.argsort(-test.confidences[wrong])][:MAX_MISTAKES]
    plot_mistakes(
        data.test.take(wrong)["image"],
        data.test.labels[wrong],
        test.labels[wrong],
        test.confidences[wrong],
        data.class_names,
        directory / "mistakes.png",
    )


def _figure(rows: int, columns: int, width: float, height: float):
    # Without pyplot: no global state, no display. Imported here, for that takes as long as
    # importing JAX, and a run plots last.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def plot_curves(lines: list[dict[str, float]], path: Path) -> None:
    """Loss, accuracy and learning rate by step.

    Args:
      lines: of metrics.jsonl.
      path: of the PNG.
    """
    figure, axes = _figure(1, 3, 13, 3.8)
    train = [line for line in lines if "train/loss" in line]
    val = [line for line in lines if "val/loss" in line]

    def draw(axis, source, name, colour, label, **style) -> None:
        axis.plot([x["step"] for x in source], [x[name] for x in source], color=colour,
                  label=label, **style)  # fmt: skip

    for axis, name in zip(axes[0], ("loss", "accuracy"), strict=False):
        draw(axis, train, f"train/{name}", TRAIN, "train (augmented, soft targets)", lw=1)
        draw(axis, val, f"val/{name}", VAL, "validation", marker=".")
        axis.set(title=name, xlabel="step")
        axis.legend()
    axes[0, 0].set_ylabel("cross-entropy, nats")
    axes[0, 1].set_ylim(0, 1)
    draw(axes[0, 2], train, "train/learning_rate", GREY, "learning rate")
    axes[0, 2].set(title="learning rate", xlabel="step", ylim=(0, None))
    for axis in axes[0]:
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def plot_confusion_matrix(
    counts: Counts, class_names: Sequence[str], accuracy: float, path: Path
) -> None:
    """Rows are classes, columns predictions, colour the share of the row."""
    confusion = np.asarray(counts.confusion)
    num_classes = len(class_names)
    side = min(14, 4.5 + 0.22 * num_classes)
    figure, axes = _figure(1, 1, side + 0.8, side)
    axis = axes[0, 0]
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the class", shrink=0.8)
    if num_classes <= MAX_TICKS:
        axis.set_xticks(range(num_classes), class_names, rotation=90)
        axis.set_yticks(range(num_classes), class_names)
        for i, j in zip(*np.nonzero(confusion), strict=True):
            axis.text(j, i, str(confusion[i, j]), ha="center", va="center", fontsize=7,
                      color="white" if shares[i, j] > 0.5 else "black")  # fmt: skip
    total = int(confusion.sum())
    axis.set(title=f"test: {accuracy:.2%} of {total}", xlabel="predicted", ylabel="class")
    figure.savefig(path, dpi=110)


def plot_reliability(counts: Counts, ece: float, path: Path) -> None:
    """Accuracy against confidence, bin by bin, and how many examples each bin holds."""
    figure, axes = _figure(1, 2, 9.5, 4)
    number = np.asarray(counts.bin_count)
    filled = number > 0
    left = np.arange(NUM_BINS) / NUM_BINS
    style = {"width": 1 / NUM_BINS, "align": "edge", "color": TRAIN, "edgecolor": "white"}
    share = np.asarray(counts.bin_correct)[filled] / number[filled]
    confidence = np.asarray(counts.bin_confidence)[filled] / number[filled]
    axes[0, 0].bar(left[filled], share, **style)
    axes[0, 0].plot(confidence, share, ".", color=VAL, label="mean of the bin")
    axes[0, 0].plot([0, 1], [0, 1], "--", color=GREY, label="calibrated")
    axes[0, 0].set(title=f"expected calibration error {ece:.3f}", xlabel="confidence",
                   ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))  # fmt: skip
    axes[0, 0].legend()
    axes[0, 1].bar(left, number, **style)
    axes[0, 1].set(title="test examples", xlabel="confidence", xlim=(0, 1))
    figure.savefig(path, dpi=110)


def plot_augmented(
    images: np.ndarray,
    targets: np.ndarray,
    even: float,
    class_names: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    path: Path,
) -> None:
    """Images as the model sees them in training, each with the classes of its soft label.

    Args:
      images: normalised, (B, H, W, C).
      targets: (B, K); classes with more than the smoothing's even share are named.
      even: that share, eps / K.
      class_names: K names.
      mean, std: of the normalisation, undone once here.
      path: of the PNG.
    """
    columns = min(8, len(images))
    rows = -(-len(images) // columns)
    figure, axes = _figure(rows, columns, 1.75 * columns, 2.25 * rows)
    pixels = np.clip(np.asarray(images) * np.asarray(std) + np.asarray(mean), 0, 1)
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, target in zip(axes.flat, pixels, np.asarray(targets), strict=False):
        _show(axis, image)
        named = [k for k in np.argsort(-target)[:3] if target[k] > even + 0.005]
        axis.set_title("\n".join(f"{class_names[k]} {target[k]:.2f}" for k in named), fontsize=7)
    figure.savefig(path, dpi=110)


def plot_mistakes(
    images: np.ndarray,
    labels: np.ndarray,
    predictions: np.ndarray,
    confidences: np.ndarray,
    class_names: Sequence[str],
    path: Path,
) -> None:
    """The wrong predictions that were most sure of themselves.

    Args:
      images: uint8 (M, H, W, C), most confident first; there may be none.
      labels, predictions, confidences: (M,).
      class_names: K names.
      path: of the PNG.
    """
    columns = 8
    rows = max(1, -(-len(images) // columns))
    figure, axes = _figure(rows, columns, 1.75 * columns, 2.35 * rows)
    for axis in axes.flat:
        axis.axis("off")
    if not len(images):
        figure.suptitle("no mistakes on the test split")
    rows_of = zip(axes.flat, images, labels, predictions, confidences, strict=False)
    for axis, image, label, prediction, confidence in rows_of:
        _show(axis, image / 255)
        axis.set_title(
            f"{class_names[prediction]} {confidence:.2f}\nis {class_names[label]}", fontsize=7
        )
    figure.savefig(path, dpi=110)


def _show(axis, image: np.ndarray) -> None:
    axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
