"""The page of a run that learns features."""

from jaxvit.pages.about import About
from jaxvit.pages.features import render_features_page


def test_every_score_stands_beside_its_own_name():
    scores = {
        "knn_accuracy": 0.4, "knn_accuracy_low": 0.31, "knn_accuracy_high": 0.62,
        "linear_accuracy": 0.5, "retrieval_accuracy": 0.9, "alignment": 1.25, "uniformity": -2.5,
    }  # fmt: skip
    page = " ".join(render_features_page(About("t", {}, ""), scores, 3, []).split())
    for value, title in (
        ("50.0%", "linear probe"),
        ("90.0%", "views retrieved"),
        ("1.250", "alignment"),
        ("-2.500", "uniformity"),
    ):
        assert f"<b>{value}</b>{title}" in page
    assert "31.0 to 62.0 %" in page
