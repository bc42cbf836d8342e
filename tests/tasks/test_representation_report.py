"""The pictures of a run that learns features."""

import numpy as np
from sklearn.manifold import TSNE

from jaxvit.command_line import parse
from jaxvit.data.datasets import load_dataset
from jaxvit.tasks import representation_report
from jaxvit.training.evaluate import Evaluation
from jaxvit.training.task import Results
from tests.tasks.test_instance_runs import ARGUMENTS


def test_the_picture_of_neighbours_has_the_nearest_other_test_images(tmp_path, monkeypatch):
    _, config = parse([*ARGUMENTS, "--data.cache-dir", str(tmp_path)])
    data = load_dataset(config.data, 8, 1)
    for name in ("plot_curves", "plot_views", "plot_feature_map", "plot_neighbours"):
        monkeypatch.setattr(representation_report, name, lambda *given: given)
    monkeypatch.setattr(representation_report, "plane", lambda features: features[:, :2])
    images = data.test.images(np.arange(len(data.test)))
    features = images.reshape(len(images), -1).astype(np.float32)
    views = {"images": np.zeros((1, 2, 8, 8, 1)), "small_images": np.ones((1, 2, 4, 4, 1))}
    evaluation = Evaluation({}, {}, {"features": features})
    results = Results([], 0, data.test, evaluation, views, {})
    figures = representation_report.draw_representation(results, config, data)
    assert figures["views"][0] is views["images"]
    assert figures["small_views"][0] is views["small_images"]
    curves = {curve.name: curve for curve in figures["curves"][1]}
    for name in ("knn_accuracy", "linear_accuracy"):
        assert curves[name].chance == np.bincount(data.test.labels).max() / len(images)
        assert curves[name].interval
    queries, found, of_queries, of_found, names = figures["neighbours"]
    rows = np.linspace(0, len(images) - 1, 10).astype(int)
    np.testing.assert_array_equal(queries, images[rows])
    np.testing.assert_array_equal(of_queries, data.test.labels[rows])
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    for row, shown, labels in zip(rows, found, of_found, strict=True):
        order = [i for i in np.argsort(-(unit @ unit[row]), kind="stable") if i != row][:7]
        np.testing.assert_array_equal(shown[0], images[order[0]])
        np.testing.assert_array_equal(labels, data.test.labels[order])
    points, thumbnails, labels, _ = figures["feature_map"]
    shown = np.linspace(0, len(images) - 1, 300).astype(int)
    np.testing.assert_array_equal(points, features[shown, :2])
    np.testing.assert_array_equal(thumbnails, images[shown])
    np.testing.assert_array_equal(labels, data.test.labels[shown])


def test_the_map_is_of_directions_alone_and_the_same_each_time(monkeypatch):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(12, 6))
    points = representation_report.plane(features)
    assert points.shape == (12, 2)
    lengths = 2.0 ** rng.integers(0, 5, (12, 1))  # exact
    np.testing.assert_array_equal(representation_report.plane(lengths * features), points)
    asked = {}

    class Recorded(TSNE):
        def __init__(self, **options):
            asked.update(options)
            super().__init__(**options)

    monkeypatch.setattr("sklearn.manifold.TSNE", Recorded)
    representation_report.plane(features)
    assert asked["random_state"] == 0
