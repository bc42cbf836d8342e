"""Features without further training: neighbours, a linear probe, alignment and uniformity."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxvit.objectives import representation
from jaxvit.objectives.monitors import comparable, monitor_of
from jaxvit.objectives.representation import (
    alignment,
    knn_predict,
    nearest,
    retrieval_accuracy,
    share,
    uniformity,
)
from jaxvit.tasks.linear_probe import linear_predict


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 12))
    labels = rng.integers(0, 4, 160)
    features = (centres[labels] + 1.2 * rng.normal(size=(160, 12))) * rng.uniform(0.1, 9, (160, 1))
    return features[:100], labels[:100], features[100:], labels[100:]


def test_neighbours_are_scikit_learns_by_cosine(data):
    features, labels, queries, _ = data

    def weights(distances):  # scikit-learn's cosine distance is 1 - cosine
        return np.exp(-distances / 0.07)

    expected = KNeighborsClassifier(20, weights=weights, metric="cosine").fit(features, labels)
    assert np.array_equal(knn_predict(queries, features, labels, 4), expected.predict(queries))
    one = KNeighborsClassifier(1, metric="cosine").fit(features, labels)
    assert np.array_equal(
        knn_predict(queries, features, labels, 4, neighbours=1), one.predict(queries)
    )
    assert np.array_equal(nearest(features[:7], features, 1)[0][:, 0], np.arange(7))


def test_in_chunks_the_scores_are_those_of_all_images_at_once(data, monkeypatch):
    features, labels, queries, _ = data

    def scores():
        voted = knn_predict(queries, features, labels, 4).tolist()
        return voted, retrieval_accuracy(features, features + 0.3), uniformity(features)

    *whole, expected = scores()
    monkeypatch.setattr(representation, "CHUNK", 7)
    *found, uniform = scores()
    assert found == whole
    assert uniform == pytest.approx(expected, rel=1e-12)


def test_more_neighbours_than_images_are_all_of_them(data):
    features, labels, queries, _ = data
    few = knn_predict(queries, features[:3], labels[:3], 4)
    assert set(few) <= set(labels[:3])


def test_a_near_neighbour_outvotes_two_far_ones():
    features = np.array([[1.0, 0.02], [0.6, 0.8], [0.6, -0.8]])
    labels, query = np.array([0, 1, 1]), np.array([[5.0, 0.0]])
    assert knn_predict(query, features, labels, 2).tolist() == [0]
    assert knn_predict(query, features, labels, 2, temperature=10.0).tolist() == [1]


def test_the_linear_probe_is_scikit_learns_on_standardised_features(data):
    features, labels, queries, _ = data
    expected = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    expected.fit(features, labels)
    assert np.array_equal(linear_predict(queries, features, labels), expected.predict(queries))
    constant = np.concatenate([features, np.ones((100, 1))], axis=1)
    assert len(linear_predict(constant[:5], constant, labels)) == 5  # no division by 0


def test_alignment_and_uniformity_are_wang_and_isolas():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 30, 8))
    x, y = (torch.nn.functional.normalize(torch.tensor(z), dim=1) for z in (a, b))
    assert alignment(a, b) == pytest.approx(float((x - y).norm(p=2, dim=1).pow(2).mean()))
    expected = torch.pdist(x, p=2).pow(2).mul(-2).exp().mean().log()
    assert uniformity(a) == pytest.approx(float(expected))
    assert alignment(a, 7 * a) == pytest.approx(0)
    assert uniformity(np.ones((5, 3))) == pytest.approx(0)
    assert uniformity(a[:1]) == 0


def test_retrieval_asks_for_the_own_view():
    a = np.eye(4)
    assert retrieval_accuracy(a, a) == 1
    assert retrieval_accuracy(a, a[[1, 0, 2, 3]]) == 0.5


def test_a_share_has_wilsons_interval():
    found = share(np.array([True] * 8 + [False] * 2), "knn_accuracy")
    assert found["knn_accuracy"] == 0.8
    assert found["knn_accuracy_low"] == pytest.approx(0.490, abs=1e-3)
    assert found["knn_accuracy_high"] == pytest.approx(0.943, abs=1e-3)


def test_the_monitor_follows_method_and_labels():
    assert monitor_of("classification", None)[0] == ("accuracy", True)
    assert monitor_of("classification", "loss") == (("loss", False), ("accuracy", True))
    assert monitor_of("gan", None) == (("kernel_distance", False),)
    assert monitor_of("diffusion", None) == (("loss", False), ("kernel_distance", False))
    assert monitor_of("instance_discrimination", None)[0] == ("knn_accuracy", True)
    assert monitor_of("instance_discrimination", None, False)[0] == ("retrieval_accuracy", True)
    assert monitor_of("instance_discrimination", "alignment")[0] == ("alignment", False)
    assert "knn_accuracy" not in comparable("instance_discrimination", False)
    assert "knn_accuracy" not in comparable("classification")


@pytest.mark.parametrize(
    "method", ["classification", "instance_discrimination", "gan", "diffusion"]
)
def test_a_metric_that_is_to_fall_falls(method):
    falling = {"loss", "ece", "alignment", "uniformity", "kernel_distance"}
    for name in comparable(method):
        assert monitor_of(method, name)[0] == (name, name not in falling)
