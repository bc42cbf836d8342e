"""The page of a classifier's results: one HTML file without any reference to another."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxvit.objectives.confusions import frequent_confusions, surest_errors
from jaxvit.pages.about import About
from jaxvit.pages.charts import FRAME, Chart, Series, make_chart, metric_charts
from jaxvit.pages.templates import template
from jaxvit.pages.thumbnails import data_uri, within
from jaxvit.pictures.explanation import scaled
from jaxvit.pictures.overlays import overlay

SIDE, ERROR_SIDE = 64, 128  # pixels of thumbnails, and of the worst errors
BUDGET = 3_000_000  # characters of all thumbnails
LEAST = 400  # of one: that of a single black pixel has 403
ERRORS = 24
MATRIX = 60  # classes; of more, the confusions are a list
LISTED = 40


class Scored(NamedTuple):
    """Predictions of n images, of K classes.

    Attributes:
      names, labels: of the images.
      predicted, confidence, label_probability: (n,): the most probable class, its probability, and
        that of the true class.
      images: rows (m,) -> m images, uint8 (H, W, C), of any size.
      metrics: accuracy with its interval, loss, ece and others, by name.
      confusion: (K, K): images of class i that were predicted as j.
      bins: count, sum of confidences and number right of each bin of confidence.
    """

    names: Sequence[str]
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    label_probability: np.ndarray
    images: Callable[[np.ndarray], Sequence[np.ndarray]]
    metrics: Mapping[str, float]
    confusion: np.ndarray
    bins: tuple[np.ndarray, np.ndarray, np.ndarray]


def worst_rows(scored: Scored, number: int = ERRORS) -> np.ndarray:
    """Of the wrong predictions of the highest confidence, the highest first."""
    return surest_errors(scored.labels, scored.predicted, scored.confidence, number)


def render_page(
    about: About,
    scored: Scored,
    class_names: Sequence[str],
    overlays: Mapping[int, np.ndarray] | None = None,
) -> str:
    """The page's HTML. All names are escaped.

    Args:
      about: see there.
      scored: predictions.
      class_names: K names.
      overlays: row -> a map (n, n) of what the model looked at, for some of the worst errors.
    """
    rows = thumbnail_rows(scored)
    images = ((int(row), image) for part in np.array_split(rows, -(-len(rows) // 256) or 1)
              for row, image in zip(part, scored.images(part), strict=True))  # fmt: skip
    thumbnails = dict(within(images, SIDE, BUDGET))
    n = len(scored.labels)
    data = {
        "classes": list(class_names),
        "images": [
            [
                thumbnails[row], scored.names[row], int(scored.labels[row]),
                int(scored.predicted[row]), round(float(scored.confidence[row]), 4),
            ]
            for row in sorted(thumbnails)
        ],
    }  # fmt: skip
    return template("page.html").render(
        about=about,
        frame=FRAME,
        metrics=scored.metrics,
        n=n,
        right=int(scored.confusion.trace()),
        charts=metric_charts(about.lines),
        reliability=reliability_chart(scored.bins),
        class_names=class_names,
        matrix=scored.confusion.tolist() if len(class_names) <= MATRIX else None,
        confusions=frequent_confusions(scored.confusion, LISTED),
        per_class=per_class_rows(scored.confusion, class_names),
        errors=[
            _error(scored, row, class_names, overlays or {}) for row in worst_rows(scored).tolist()
        ],
        augmented=None if about.augmented is None else data_uri(about.augmented, 1200),
        data=data,
        shown=len(thumbnails),
    )


def thumbnail_rows(scored: Scored) -> np.ndarray:
    """Of the images that may be among the thumbnails, in the order in which they are taken."""
    return _order(scored)[: BUDGET // LEAST]


def _order(scored: Scored) -> np.ndarray:
    """Rows by their worth to a reader: wrong ones first, the surest first; then the least sure."""
    wrong = scored.predicted != scored.labels
    return np.lexsort((np.where(wrong, -scored.confidence, scored.confidence), ~wrong))


def _error(scored: Scored, row: int, class_names, overlays: Mapping[int, np.ndarray]) -> dict:
    image = scored.images(np.array([row]))[0]
    looked = None
    if row in overlays:
        shown = scaled(overlays[row], False, image.shape[0])
        laid = overlay(np.atleast_3d(image) / 255, shown, 0.5)
        looked = data_uri((np.clip(laid, 0, 1) * 255).astype(np.uint8), ERROR_SIDE)
    return {
        "image": data_uri(image, ERROR_SIDE),
        "overlay": looked,
        "name": scored.names[row],
        "label": class_names[scored.labels[row]],
        "predicted": class_names[scored.predicted[row]],
        "confidence": float(scored.confidence[row]),
        "label_probability": float(scored.label_probability[row]),
    }


def per_class_rows(confusion: np.ndarray, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """For each class that has images: their number, how many are right, precision and recall, and
    the class that most of the others were taken for."""
    rows = []
    for index, name in enumerate(class_names):
        of_class = confusion[index]
        number, right, said = int(of_class.sum()), int(of_class[index]), confusion[:, index].sum()
        others = np.where(np.arange(len(of_class)) == index, 0, of_class)
        if number:
            rows.append(
                {
                    "name": name, "n": number, "right": right, "recall": right / number,
                    "precision": right / said if said else None,
                    "taken_for": class_names[others.argmax()] if others.any() else "",
                    "times": int(others.max()),
                }
            )  # fmt: skip
    return rows


def reliability_chart(bins: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Chart | None:
    """Accuracy by confidence, with the line that a calibrated model would follow."""
    count, confidence, right = (np.asarray(each, float) for each in bins)
    points = [
        (c / n, r / n) for n, c, r in zip(count, confidence, right, strict=True) if n
    ]  # fmt: skip
    if not points:
        return None
    series = [Series("grey", [(0, 0), (1, 1)]), Series("validation", points, marked=True)]
    return make_chart("accuracy by confidence", "confidence", series, (0, 1))
