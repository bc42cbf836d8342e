"""Generated images: as a grid, as training goes, on their way from noise, and beside real ones."""

from collections.abc import Sequence

import numpy as np

from jaxvit.pictures.figure import literal, make_figure


def plot_samples(images: np.ndarray, titles: Sequence[str], columns: int = 16):
    """Samples in rows, each with a few words above it.

    Args:
      images: uint8 (N, H, W, C).
      titles: N, or none.
      columns: of the grid.
    """
    columns = min(columns, max(1, len(images)))
    rows = max(1, -(-len(images) // columns))
    height = 0.85 if titles else 0.7
    figure, axes = make_figure(rows, columns, max(3.0, 0.7 * columns), height * rows + 0.4)
    for number, axis in enumerate(axes.flat):
        if number < len(images):
            _show(axis, images[number])
            if titles:
                axis.set_title(literal(titles[number]), fontsize=6, pad=2)
        else:
            axis.axis("off")
    return figure


def plot_progress(steps: Sequence[str], images: np.ndarray, title: str):
    """A row for each of several moments, and a column for each image.

    Args:
      steps: of the M moments, as they are written beside the rows.
      images: uint8 (M, N, H, W, C).
      title: of the figure.
    """
    columns = images.shape[1]
    figure, axes = make_figure(
        len(steps), columns, max(3.0, 0.7 * columns + 0.8), 0.7 * len(steps) + 0.5
    )
    for row, (step, several) in enumerate(zip(steps, images, strict=True)):
        for axis, image in zip(axes[row], several, strict=True):
            _show(axis, image)
        axes[row, 0].set_ylabel(step, fontsize=8, rotation=0, ha="right", va="center")
    figure.suptitle(title, fontsize=10)
    return figure


def plot_copies(samples: np.ndarray, nearest: np.ndarray, distances: np.ndarray, real: float):
    """Each sample above the training image that is nearest to it.

    Args:
      samples, nearest: uint8 (N, H, W, C).
      distances: (N,), between both.
      real: the median of the distances of test images to their nearest training images.
    """
    figure, axes = make_figure(2, len(samples), max(4.0, 0.9 * len(samples)), 2.6)
    for column, pair in enumerate(zip(samples, nearest, strict=True)):
        for axis, image in zip(axes[:, column], pair, strict=True):
            _show(axis, image)
        axes[1, column].set_xlabel(f"{distances[column]:.2f}", fontsize=8)
    for axis, name in zip(axes[:, 0], ("sample", "nearest"), strict=True):
        axis.set_ylabel(name, fontsize=8)
    figure.suptitle(
        f"samples, and the training images nearest to them (a test image's is at {real:.2f})",
        fontsize=10,
    )
    return figure


def _show(axis, image: np.ndarray) -> None:
    axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
    axis.set(xticks=[], yticks=[])
