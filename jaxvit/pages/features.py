"""The page of a run that learns features: one HTML file without any reference to another."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxvit.pages.about import About
from jaxvit.pages.charts import FRAME, metric_charts
from jaxvit.pages.templates import template
from jaxvit.pages.thumbnails import data_uri

CURVES = (
    "loss", "accuracy", "knn_accuracy", "linear_accuracy", "retrieval_accuracy", "alignment",
    "uniformity", "learning_rate",
)  # fmt: skip
WIDTH = 1180  # pixels of a picture
TITLES = {
    "linear_accuracy": "linear probe", "retrieval_accuracy": "views retrieved",
    "alignment": "alignment", "uniformity": "uniformity",
}  # fmt: skip


def render_features_page(
    about: About,
    metrics: Mapping[str, float],
    images: int,
    pictures: Sequence[tuple[str, np.ndarray]],
) -> str:
    """The page's HTML. All names are escaped.

    Args:
      about: see there.
      metrics: of the test split, by name.
      images: of the test split.
      pictures: heading and uint8 image of each.
    """
    accuracy = None
    if "knn_accuracy" in metrics:
        value, low, high = (metrics[f"knn_accuracy{end}"] for end in ("", "_low", "_high"))
        accuracy = {"value": value, "low": low, "high": high}
    values = [(title, _shown(name, metrics[name])) for name, title in TITLES.items()
              if name in metrics]  # fmt: skip
    return template("features.html").render(
        about=about,
        frame=FRAME,
        accuracy=accuracy,
        n=images,
        values=values,
        charts=metric_charts(about.lines, CURVES),
        pictures=[(title, data_uri(picture, WIDTH)) for title, picture in pictures],
    )


def _shown(name: str, value: float) -> str:
    return f"{value:.1%}" if name.endswith("accuracy") else f"{value:.3f}"
