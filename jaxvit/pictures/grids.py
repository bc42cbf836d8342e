"""Many small images side by side, each with a few words."""

from collections.abc import Sequence

import numpy as np

from jaxvit.pictures.figure import literal, make_figure

COLUMNS = 8
LONGEST_NAME = 24  # characters of a file name that are shown
LONGEST_CLASS = 40  # characters of a class name that are shown
FONT_SIZE = 7  # points; less where a line is wider than an image
COLUMN = 1.75  # inches that an image has
WIDEST = 0.92 * 72 * COLUMN  # points of a line


def plot_augmented(
    images: np.ndarray,
    targets: np.ndarray,
    even: float,
    class_names: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
):
    """Images as the model sees them in training, each with the classes of its soft label.

    Args:
      images: normalised, (B, H, W, C).
      targets: (B, K); classes with more than the smoothing's even share are named.
      even: that share, eps / K.
      class_names: K names.
      mean, std: of the normalisation, undone once here.
    """
    figure, axes = _grid(len(images), 2.25)
    pixels = np.clip(np.asarray(images) * np.asarray(std) + np.asarray(mean), 0, 1)
    for axis, image, target in zip(axes.flat, pixels, np.asarray(targets), strict=False):
        _show(axis, image)
        named = [k for k in np.argsort(-target)[:3] if target[k] > even + 0.005]
        _caption(axis, [f"{_cut(class_names[k])} {target[k]:.2f}" for k in named])
    figure.suptitle("training images as the model sees them, with the weights of their targets")
    return figure


def plot_mistakes(
    images: np.ndarray,
    labels: np.ndarray,
    predictions: np.ndarray,
    confidences: np.ndarray,
    label_probabilities: np.ndarray,
    names: Sequence[str],
    class_names: Sequence[str],
):
    """The wrong predictions with the highest confidence, with what the model gave the true class.

    Args:
      images: uint8 (M, H, W, C), most confident first; there may be none.
      labels, predictions, confidences, label_probabilities: (M,).
      names: M names of files.
      class_names: K names.
    """
    figure, axes = _grid(len(images), 2.5)
    title = "the most confident mistakes of the test split: predicted class, true class, file"
    figure.suptitle(title if len(images) else "no mistakes on the test split")
    rows = zip(
        axes.flat, images, labels, predictions, confidences, label_probabilities, names,
        strict=False,
    )  # fmt: skip
    for axis, image, label, prediction, confidence, probability, name in rows:
        _show(axis, image / 255)
        name = name.rpartition("/")[2]
        name = name if len(name) <= LONGEST_NAME else f"...{name[3 - LONGEST_NAME :]}"
        said = f"said {_cut(class_names[prediction])} {confidence:.0%}"
        true = f"is {_cut(class_names[label])} {probability:.0%}"
        _caption(axis, [said, true, name])
    return figure


def _grid(number: int, height: float):
    columns = min(COLUMNS, max(1, number))
    rows = max(1, -(-number // columns))
    figure, axes = make_figure(rows, columns, max(3.5, COLUMN * columns), height * rows)
    for axis in axes.flat:
        axis.axis("off")
    return figure, axes


def _show(axis, image: np.ndarray) -> None:
    axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST_CLASS else f"{name[: LONGEST_CLASS - 3]}..."


def _caption(axis, lines: Sequence[str]) -> None:
    title = axis.set_title(literal("\n".join(lines)), fontsize=FONT_SIZE)
    width = title.get_window_extent().width * 72 / axis.figure.dpi
    title.set_fontsize(FONT_SIZE * WIDEST / max(WIDEST, width))
