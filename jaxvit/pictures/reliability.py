"""Whether a model's confidence can be believed."""

import numpy as np

from jaxvit.pictures.figure import GREY, TRAIN, VAL, make_figure


def plot_reliability(
    bin_count: np.ndarray, bin_confidence: np.ndarray, bin_correct: np.ndarray, ece: float
):
    """Accuracy against confidence, bin by bin, with the number of examples in each bin.

    Args:
      bin_count, bin_confidence, bin_correct: (M,), sums over the examples of each of M equal bins
        of confidence; see jaxvit.objectives.metrics.Counts.
      ece: the expected calibration error, for the title.
    """
    number = np.asarray(bin_count)
    figure, axes = make_figure(1, 2, 10.5, 4)
    bins, filled = len(number), number > 0
    left = np.arange(bins) / bins
    style = {"width": 1 / bins, "align": "edge", "color": TRAIN, "edgecolor": "white"}
    share = np.asarray(bin_correct)[filled] / number[filled]
    confidence = np.asarray(bin_confidence)[filled] / number[filled]
    axes[0, 0].bar(left[filled], share, **style)
    axes[0, 0].plot(confidence, share, ".", color=VAL, label="mean of the bin")
    axes[0, 0].plot([0, 1], [0, 1], "--", color=GREY, label="calibrated")
    axes[0, 0].set(title=f"test: expected calibration error {ece:.3f}", xlabel="confidence",
                   ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))  # fmt: skip
    axes[0, 0].legend()
    bars = axes[0, 1].bar(left, number, **style)
    axes[0, 1].bar_label(bars, [str(n) if n else "" for n in number], fontsize=8)
    axes[0, 1].set(title="test examples in each bin", xlabel="confidence", xlim=(0, 1))
    axes[0, 1].margins(y=0.1)
    return figure
