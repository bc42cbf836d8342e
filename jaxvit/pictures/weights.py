"""What a network has learned in its first layer, and of its positions."""

import numpy as np

from jaxvit.pictures.figure import make_figure

COLUMNS, MOST = 8, 64
MOST_POSITIONS = 14  # rows and columns of patches that are drawn; of more, every few


def plot_filters(kernel: np.ndarray):
    """The filters of the first layer as images.

    A ResNet has few filters: each is drawn, scaled to its own range. A Vision Transformer has
    hundreds, of which the principal components are drawn, those of the largest variance first
    (Dosovitskiy et al. 2021, figure 7).

    Args:
      kernel: (k, k, C, F), C of 1 or 3.
    """
    size, channels, number = kernel.shape[0], kernel.shape[2], kernel.shape[3]
    flat = np.asarray(kernel, np.float64).reshape(-1, number)
    title = f"{number} filters of {size} x {size} pixels"
    if number > MOST:
        flat, _, _ = np.linalg.svd(flat - flat.mean(axis=1, keepdims=True), full_matrices=False)
        title = f"principal components of {title}"
    shown = min(flat.shape[1], MOST)
    rows = -(-shown // COLUMNS)
    figure, axes = make_figure(rows, COLUMNS, COLUMNS, rows + 0.4)
    for index, axis in enumerate(axes.flat):
        axis.axis("off")
        if index < shown:
            image = flat[:, index].reshape(size, size, channels)
            low, high = image.min(), image.max()
            image = (image - low) / (high - low if high > low else 1)
            axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
    figure.suptitle(title, fontsize=10)
    return figure


def plot_position_similarity(similarity: np.ndarray):
    """For the position of each patch, a map of its cosine with all positions.

    Args:
      similarity: (n, n, n, n), see jaxvit.explain.position_similarity.
    """
    side = len(similarity)
    every = -(-side // MOST_POSITIONS)
    chosen = range(every // 2, side, every)
    number = len(chosen)
    figure, axes = make_figure(number, number, 0.6 * number + 1.2, 0.6 * number + 0.5)
    for row, i in enumerate(chosen):
        for column, j in enumerate(chosen):
            axis = axes[row, column]
            drawn = axis.imshow(similarity[i, j], cmap="RdBu_r", vmin=-1, vmax=1)
            axis.set(xticks=(), yticks=())
    figure.colorbar(drawn, ax=axes, label="cosine similarity", shrink=0.6)
    figure.suptitle(f"positions of {side} x {side} patches, each with all others", fontsize=10)
    return figure
