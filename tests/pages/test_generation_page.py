"""The page of a run that makes images."""

from jaxvit.pages.about import About
from jaxvit.pages.generation import render_generation_page


def test_every_measure_stands_beside_its_own_name():
    metrics = {"loss": 0.5, "kernel_distance": 0.125, "diversity": 0.4}
    page = " ".join(render_generation_page(About("t", {}, ""), metrics, []).split())
    for value, title in (
        ("0.5000", "error of the predicted noise"),
        ("0.1250", "kernel distance of pixels"),
        ("40%", "of the real images"),
    ):
        assert f"<b>{value}</b>{title}" in page
