"""The page of a run that makes images: one HTML file without any reference to another."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxvit.pages.about import About
from jaxvit.pages.charts import FRAME, metric_charts
from jaxvit.pages.features import WIDTH
from jaxvit.pages.templates import template
from jaxvit.pages.thumbnails import data_uri

CURVES = (
    "loss", "loss/discriminator", "loss/generator", "of_real/discriminator",
    "of_fake/discriminator", "kernel_distance", "diversity", "learning_rate",
)  # fmt: skip
TITLES = {
    "loss": "error of the predicted noise", "kernel_distance": "kernel distance of pixels",
    "diversity": "of the real images' diversity",
}  # fmt: skip


def render_generation_page(
    about: About,
    metrics: Mapping[str, float],
    pictures: Sequence[tuple[str, np.ndarray]],
) -> str:
    """The page's HTML. All names are escaped.

    Args:
      about: see there.
      metrics: of the test split, by name.
      pictures: heading and uint8 image of each.
    """
    return template("generation.html").render(
        about=about,
        frame=FRAME,
        values=[(title, _shown(name, metrics[name])) for name, title in TITLES.items()
                if name in metrics],
        charts=metric_charts(about.lines, CURVES),
        pictures=[(title, data_uri(picture, WIDTH)) for title, picture in pictures],
    )  # fmt: skip


def _shown(name: str, value: float) -> str:
    return f"{value:.0%}" if name == "diversity" else f"{value:.4f}"
