"""A photo, its most probable classes, and what each method says about them."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxvit.pictures.figure import TRAIN, literal, make_figure
from jaxvit.pictures.overlays import NEGATIVE, NONE, POSITIVE, enlarge, normalize_attributions
from jaxvit.pictures.overlays import overlay as overlay_of

COLUMNS = 5


class ClassMaps(NamedTuple):
    """One class that is explained.

    Attributes:
      label: of the class, with its probability.
      maps: title of the method -> (attributions (H, W, C) or a map (n, n), whether it is signed).
    """

    label: str
    maps: Mapping[str, tuple[np.ndarray, bool]]


def plot_explanation(
    image: np.ndarray, title: str, classes: Sequence[tuple[str, float]], rows: Sequence[ClassMaps]
):
    """The photo and its classes on top; below, for each class, every method over the photo.

    Each method is scaled to [-1, 1] by itself, with the largest two percent of its magnitudes cut
    off (see normalize_attributions). The colours then mean the same for all that have a sign. What
    has none shows sizes, from white to blue, and its title says so.

    Args:
      image: (H, W, C) in [0, 1], as the model sees it.
      title: such as a file's name.
      classes: (name, probability), the most probable first.
      rows: of one class each.
    """
    lines = [-(-len(row.maps) // COLUMNS) for row in rows]
    figure, axes = make_figure(1 + sum(lines), COLUMNS, 2.5 * COLUMNS, 2.75 * (1 + sum(lines)))
    for axis in axes.flat:
        axis.axis("off")
    axes[0, 0].imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
    axes[0, 0].set_title(literal(title), fontsize=9)
    _draw_classes(axes[0, 1], classes)
    _draw_scale(axes[0, 3])
    line = 1
    for row, height in zip(rows, lines, strict=True):
        places = axes[line : line + height].flat
        for number, (axis, (name, (found, signed))) in enumerate(
            zip(places, row.maps.items(), strict=False)
        ):
            axis.imshow(np.clip(overlay_of(image, scaled(found, signed, len(image))), 0, 1))
            name = name if signed else f"{name} (size, no sign)"
            lines_of_title = [literal(row.label) if number == 0 else "", *textwrap.wrap(name, 36)]
            axis.set_title("\n".join(lines_of_title), fontsize=8)
        line += height
    return figure


def scaled(found: np.ndarray, signed: bool, size: int) -> np.ndarray:
    """Attributions or a map as (size, size) in [-1, 1]."""
    found = enlarge(found, size) if found.ndim == 2 else found
    return normalize_attributions(found, "all" if signed else "absolute_value")


def _draw_classes(axis, classes: Sequence[tuple[str, float]]) -> None:
    axis.axis("on")
    names = [f"{literal(name[:22])}  {probability:.1%}" for name, probability in classes]
    axis.barh(range(len(names)), [probability for _, probability in classes], color=TRAIN)
    axis.set(xlim=(0, 1), ylim=(len(names) - 0.4, -0.6), xticks=(0, 0.5, 1))
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.yaxis.tick_right()
    for label in axis.get_yticklabels():  # they reach into the next column, left empty
        label.set_in_layout(False)
    axis.set_title("probability", fontsize=9)


def _draw_scale(axis) -> None:
    axis.axis("on")
    along = np.linspace(-1, 1, 256)[:, None]
    colours = np.where(
        along < 0, NONE - along * (NEGATIVE - NONE), NONE + along * (POSITIVE - NONE)
    )
    axis.imshow(colours[None], aspect="auto", extent=(-1, 1, 0, 1))
    axis.set_box_aspect(0.12)
    axis.set(yticks=(), xticks=(-1, 0, 1))
    axis.set_xticklabels(("against", "0", "for the class"), fontsize=8)
