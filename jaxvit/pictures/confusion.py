"""The confusion matrix."""

from collections.abc import Sequence

import numpy as np

from jaxvit.pictures.figure import literal, make_figure

MAX_TICKS = 40  # more class names than this no longer fit beside a matrix


def plot_confusion_matrix(
    confusion: np.ndarray, class_names: Sequence[str], metrics: dict[str, float]
):
    """Rows are classes, columns predictions, colour the share of the row.

    Args:
      confusion: int (K, K); confusion[i, j] examples of class i were predicted as j.
      class_names: K names.
      metrics: accuracy, with accuracy_low and accuracy_high, for the title.
    """
    confusion = np.asarray(confusion)
    num_classes = len(class_names)
    side = min(14, 4.5 + 0.22 * num_classes)
    figure, axes = make_figure(1, 1, side + 0.8, side)
    axis = axes[0, 0]
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the class", shrink=0.8)
    if num_classes <= MAX_TICKS:
        names = [literal(name) for name in class_names]
        axis.set_xticks(range(num_classes), names, rotation=90)
        axis.set_yticks(range(num_classes), names)
        for i, j in zip(*np.nonzero(confusion), strict=True):
            axis.text(j, i, str(confusion[i, j]), ha="center", va="center", fontsize=7,
                      color="white" if shares[i, j] > 0.5 else "black")  # fmt: skip
    title = (
        f"test: {metrics['accuracy']:.1%} of {int(confusion.sum())} "
        f"(95 % interval {metrics['accuracy_low']:.1%} to {metrics['accuracy_high']:.1%})"
    )
    axis.set(title=title, xlabel="predicted", ylabel="class")
    return figure
