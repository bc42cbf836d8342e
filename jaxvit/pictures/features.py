"""What features say of images: a map of them, nearest neighbours, and the views they come from."""

from collections.abc import Sequence

import numpy as np

from jaxvit.pictures.figure import GREY, literal, make_figure

SHOWN = 300  # thumbnails of a map, at most
COLOURS = "tab20"


def plot_feature_map(
    points: np.ndarray, images: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
):
    """Each image at its point of a plane, framed in the colour of its class.

    Args:
      points: (M, 2).
      images: uint8 (M, H, W, C).
      labels: (M,).
      class_names: K names; of one class, no legend is drawn.
    """
    import matplotlib
    from matplotlib.lines import Line2D
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    figure, axes = make_figure(1, 1, 12, 9)
    axis = axes[0, 0]
    palette = matplotlib.colormaps[COLOURS]
    colours = [palette(label % 20) for label in range(len(class_names))]
    axis.scatter(*points.T, s=1, c=[colours[label] for label in labels])
    for row in range(min(len(points), SHOWN)):
        thumbnail = OffsetImage(images[row].squeeze(), zoom=32 / images.shape[1], cmap="gray")
        frame = {"edgecolor": colours[labels[row]], "linewidth": 2.5}
        axis.add_artist(
            AnnotationBbox(thumbnail, points[row], pad=0.1, bboxprops=frame, frameon=True)
        )
    axis.set(xticks=[], yticks=[], title="test images by their features (t-SNE)")
    axis.margins(0.06)
    if len(class_names) > 1:
        handles = [
            Line2D([], [], marker="s", ls="", color=colour, label=literal(name))
            for colour, name in zip(colours, class_names, strict=True)
        ]
        axis.legend(handles=handles, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def plot_neighbours(
    queries: np.ndarray,
    found: np.ndarray,
    query_labels: np.ndarray,
    found_labels: np.ndarray,
    class_names: Sequence[str],
):
    """A row for each query: the image, and its nearest neighbours, those of another class marked.

    Args:
      queries: uint8 (Q, H, W, C).
      found: uint8 (Q, k, H, W, C), the closest first.
      query_labels: (Q,).
      found_labels: (Q, k).
      class_names: K names.
    """
    columns = 1 + found.shape[1]
    figure, axes = make_figure(len(queries), columns, 1.3 * columns, 1.5 * len(queries))
    named = len(class_names) > 1
    for row, (query, images) in enumerate(zip(queries, found, strict=True)):
        for column, image in enumerate([query, *images]):
            axis = axes[row, column]
            axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
            axis.set(xticks=[], yticks=[])
            label = query_labels[row] if column == 0 else found_labels[row, column - 1]
            if named:
                right = label == query_labels[row]
                colour = "black" if right else "red"
                axis.set_title(literal(class_names[label]), fontsize=7, color=colour)
            for spine in axis.spines.values():
                spine.set(linewidth=3 if column == 0 else 0.5, color="black" if column else GREY)
    figure.suptitle("test images (left) and the nearest other test images by their features")
    return figure


def plot_views(views: np.ndarray, mean: Sequence[float], std: Sequence[float], columns: int = 8):
    """A column for each image, with its views one below the other.

    Args:
      views: normalised, (B, V, H, W, C); the first `columns` images are drawn.
      mean, std: of the normalisation, undone here.
      columns: images.
    """
    views = np.clip(views[:columns] * np.asarray(std) + np.asarray(mean), 0, 1)
    figure, axes = make_figure(views.shape[1], len(views), 1.5 * len(views), 1.5 * views.shape[1])
    for column, images in enumerate(views):
        for row, image in enumerate(images):
            axes[row, column].imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
            axes[row, column].axis("off")
    figure.suptitle("views of training images, one column for each image")
    return figure
