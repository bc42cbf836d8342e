"""Names in pictures are text, without mathematics between two dollars, and short enough."""

import io
import itertools

import numpy as np
import pytest

from jaxvit.pictures.confusion import plot_confusion_matrix
from jaxvit.pictures.explanation import ClassMaps, plot_explanation
from jaxvit.pictures.features import plot_feature_map, plot_neighbours
from jaxvit.pictures.grids import plot_augmented, plot_mistakes
from jaxvit.pictures.samples import plot_samples
from jaxvit.pictures.study import Panel, plot_study

NAME = "a$^$b"  # as mathematics it is an error
CLASSES, LABELS = (NAME, "c$d"), np.array([0, 1])
IMAGES = np.zeros((2, 4, 4, 3), np.uint8)
METRICS = {"accuracy": 0.5, "accuracy_low": 0.1, "accuracy_high": 0.9}
CURVE = ([2.0, 2.0], [0.5, 1.5], [1.0, 1.0])


@pytest.mark.parametrize(
    ("draw", "number"),
    [
        (lambda: plot_confusion_matrix(np.eye(2, dtype=int), CLASSES, METRICS), 2),
        (lambda: plot_augmented(IMAGES, np.eye(2), 0.0, CLASSES, [0.5] * 3, [0.5] * 3), 1),
        (lambda: plot_mistakes(IMAGES, LABELS, LABELS, LABELS, LABELS, [NAME] * 2, CLASSES), 2),
        (lambda: plot_feature_map(np.eye(2), IMAGES, LABELS, CLASSES), 1),
        (lambda: plot_neighbours(IMAGES, IMAGES[:, None], LABELS, LABELS[:, None], CLASSES), 2),
        (lambda: plot_samples(IMAGES, CLASSES), 1),
        (lambda: plot_study(NAME, CLASSES, [Panel(
            "t", [[1.0]] * 2, [(1.0, 0.0, 2.0)] * 2)], {NAME: CURVE}), 3),
        (lambda: plot_explanation(
            IMAGES[0] / 255, NAME, [(NAME, 0.5)],
            [ClassMaps(f"{NAME} 50.0%", {"m": (IMAGES[0], True)})]), 3),
    ],
)  # fmt: skip
def test_a_name_is_drawn_as_it_is(draw, number):
    from matplotlib.text import Text

    figure = draw()
    figure.savefig(io.BytesIO(), format="svg")
    drawn = [each.get_text() for each in figure.findobj(Text)]
    assert sum(r"a\$^\$b" in each for each in drawn) >= number


NAMES = "staffordshire_bull_terrier", "AMERICAN PIT BULL WOLFHOUND" * 3
SAID = np.arange(8) % 2
FILES = [f"{NAMES[each]}_123.jpg" for each in SAID]
EIGHT, ONES = IMAGES[[0] * 8], np.ones(8)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plot_mistakes(EIGHT, 1 - SAID, SAID, ONES, ONES, FILES, NAMES),
        lambda: plot_augmented(EIGHT, np.eye(2)[SAID], 0.0, NAMES, [0.5] * 3, [0.5] * 3),
    ],
)
def test_long_names_do_not_touch_their_neighbours(draw):
    figure = draw()
    figure.savefig(io.BytesIO())
    drawn = [axis.title.get_window_extent() for axis in figure.axes]
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(drawn))
    assert all(axis.title.get_fontsize() > 3 for axis in figure.axes)  # legible
