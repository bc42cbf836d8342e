"""Measures of generated images against torch-fidelity, scipy and definitions."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_kid import kernel_mmd
from torch_fidelity.metric_prc import prc_features_to_metric

from jaxvit.objectives import generation
from jaxvit.objectives.generation import (
    distances,
    diversity,
    frechet_distance,
    kernel_distance,
    pixel_features,
    precision_recall,
    with_interval,
)


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(6, 6))
    return rng.normal(size=(80, 6)) @ mixing, 0.4 + 1.2 * rng.normal(size=(60, 6)) @ mixing


def test_the_frechet_distance_is_scipys_and_torch_fidelitys(features):
    a, b = features
    (m, s), (n, t) = ((x.mean(0), np.cov(x, rowvar=False)) for x in features)
    expected = ((m - n) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    theirs = fid_statistics_to_metric({"mu": m, "sigma": s}, {"mu": n, "sigma": t}, False)
    assert frechet_distance(a, b) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 2.0) == pytest.approx(6 * 4, rel=1e-9)
    one = np.arange(5.0)[:, None]
    assert frechet_distance(one, 3 * one) == pytest.approx(4**2 + 4 * 2.5, rel=1e-9)


def test_the_frechet_distance_of_fewer_images_than_features_is_finite():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 20))
    (m, s), (n, t) = ((x.mean(0), np.cov(x, rowvar=False)) for x in (a, b))
    expected = ((m - n) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-5)


def test_the_kernel_distance_is_torch_fidelitys(features):
    a, b = features[0][:60], features[1]
    options = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_coef0": 1.0,
               "kid_kernel_poly_gamma": None}  # fmt: skip
    assert kernel_distance(a, b) == pytest.approx(kernel_mmd(a, b, **options), rel=1e-9)
    # Of another number of each, by its definition.
    k = [[(np.dot(x, y) / 6 + 1) ** 3 for y in b] for x in features[0]]
    own = [
        np.mean([(np.dot(x, y) / 6 + 1) ** 3 for i, x in enumerate(z) for j, y in enumerate(z)
                 if i != j])
        for z in features
    ]  # fmt: skip
    assert kernel_distance(*features) == pytest.approx(sum(own) - 2 * np.mean(k), rel=1e-9)


def test_the_kernel_distance_in_chunks_is_that_of_all_pairs_at_once(features, monkeypatch):
    whole = kernel_distance(*features)
    monkeypatch.setattr(generation, "CHUNK", 7)
    assert kernel_distance(*features) == pytest.approx(whole, rel=1e-12)


def test_features_of_pixels_in_chunks_are_those_of_all_images_at_once(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), np.uint8)
    whole = generation.pixel_features(images)
    monkeypatch.setattr(generation, "CHUNK", 7)
    np.testing.assert_array_equal(generation.pixel_features(images), whole)


def test_it_is_around_zero_between_images_of_one_kind():
    rng = np.random.default_rng(1)
    found = [kernel_distance(*rng.normal(size=(2, 50, 4))) for _ in range(200)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 200**0.5
    assert min(found) < 0


def test_precision_and_recall_are_torch_fidelitys(features):
    real, fake = features
    theirs = prc_features_to_metric(
        torch.tensor(fake), torch.tensor(real), prc_neighborhood=3, prc_batch_size=1000,
        save_cpu_ram=False, verbose=False,
    )  # fmt: skip
    found = precision_recall(real, fake)
    assert found.precision == pytest.approx(theirs["precision"])
    assert found.recall == pytest.approx(theirs["recall"])
    assert 0 < found.recall < 1
    assert found.precision != found.recall
    far = precision_recall(real, fake + 100)
    assert far == (0, 0)


def test_distances_are_those_of_the_definition(features):
    a, b = features
    expected = np.linalg.norm(a[:, None] - b[None], axis=-1)
    np.testing.assert_allclose(distances(a, b), expected, atol=1e-9)
    assert not np.any(np.diag(distances(a + 1e4, a + 1e4)))


def test_diversity_is_that_within_classes():
    values = np.array([[0.0], [3.0], [10.0], [14.0], [99.0]])
    labels = np.array([0, 0, 1, 1, 2])
    assert diversity(values, labels) == pytest.approx((3 + 4) / 2)
    assert diversity(values[:2], np.array([0, 1])) == 0
    assert diversity(np.ones((6, 3)), np.zeros(6)) == 0


def test_pixel_features_are_means_of_squares():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 16, 16, 3), np.uint8)
    found = pixel_features(images).reshape(3, 8, 8, 3)
    expected = images[1, 2:4, 6:8].reshape(-1, 3).mean(axis=0) / 127.5 - 1
    np.testing.assert_allclose(found[1, 1, 3], expected)
    small = rng.integers(0, 256, (2, 8, 8, 1), np.uint8)
    np.testing.assert_allclose(pixel_features(small), small.reshape(2, -1) / 127.5 - 1)
    odd = rng.integers(0, 256, (1, 12, 12, 1), np.uint8)
    found = pixel_features(odd)
    assert found.shape == (1, 64)
    # Rows begin at 0, 1, 3, 4, 6, 7, 9, 10.
    expected = odd[0, 1:3, 4:6].mean() / 127.5 - 1
    assert found.reshape(8, 8)[1, 3] == pytest.approx(expected)
    assert pixel_features(odd, 6).shape == (1, 36)


def test_an_interval_covers_the_truth_as_often_as_it_says():
    """Of the difference of two means, where the jackknife is Student's interval of the groups."""
    rng = np.random.default_rng(0)

    def measure(a: np.ndarray, b: np.ndarray) -> float:
        return float(a.mean() - b.mean())

    found = [with_interval(measure, *rng.normal(size=(2, 60, 1))) for _ in range(300)]
    covered = np.mean([low <= 0 <= high for _, low, high in found])
    assert 0.85 < covered < 0.98  # with 1.96 for Student's 2.26
    width = np.median([high - low for _, low, high in found])
    assert width == pytest.approx(2 * 1.96 * (2 / 60) ** 0.5, rel=0.15)
    for value, low, high in found:
        assert value == pytest.approx((low + high) / 2)


def test_groups_of_an_interval_hold_all_classes():
    """Samples are of each class in turn, so groups of every tenth would be classes."""
    a = (np.arange(200.0) % 10)[:, None]
    found = [with_interval(lambda a, b: float(a.mean()), a, a, seed=seed) for seed in range(40)]
    width = np.median([high - low for _, low, high in found])
    assert width == pytest.approx(2 * 1.96 * a.std() / 200**0.5, rel=0.2)
