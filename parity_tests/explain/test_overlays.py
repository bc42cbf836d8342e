"""Normalised attributions are those of Captum's visualize_image_attr, and pictures show them."""

import numpy as np
import pytest
from captum.attr._utils.visualization import _normalize_attr

from jaxvit import explain

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("sign", ["all", "positive", "negative", "absolute_value"])
@pytest.mark.parametrize("outlier_perc", [0, 2, 30])
def test_attributions_are_normalised_as_captum_does(sign, outlier_perc):
    attributions = RNG.normal(size=(9, 7, 3)) ** 3
    found = explain.normalize_attributions(attributions, sign, outlier_perc)
    expected = _normalize_attr(attributions.sum(axis=2), sign, outlier_perc)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_nothing_is_shown_where_there_is_nothing():
    assert not explain.normalize_attributions(np.zeros((3, 3, 3))).any()
    assert not explain.normalize_attributions(-np.ones((3, 3)), "positive").any()


def test_what_is_out_of_range_is_refused():
    with pytest.raises(ValueError, match="outlier_perc 101 is out of range"):
        explain.normalize_attributions(np.ones((2, 2)), "all", 101)


def test_colours_tell_the_sign_and_the_size():
    red, white, blue = explain.heat_map(np.array([[-1.0, 0.0, 1.0]]))[0]
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert np.array_equal(white, [1, 1, 1])
    half = explain.heat_map(np.array([[0.5]]))[0, 0]
    np.testing.assert_allclose(half, (white + blue) / 2)


def test_an_overlay_is_a_share_of_the_map_on_the_grey_image():
    image = RNG.uniform(size=(4, 5, 3))
    normalized = RNG.uniform(-1, 1, (4, 5))
    found = explain.overlay(image, normalized, alpha=0.25)
    grey = image.mean(axis=2)[..., None]
    np.testing.assert_allclose(found, 0.75 * grey + 0.25 * explain.heat_map(normalized), rtol=1e-5)


def test_a_masked_image_is_dark_where_nothing_speaks_for_the_class():
    image = RNG.uniform(size=(4, 5, 3))
    normalized = RNG.uniform(-1, 1, (4, 5))
    found = explain.masked_image(image, normalized)
    np.testing.assert_allclose(found, image * np.maximum(normalized, 0)[..., None], rtol=1e-5)


def test_pictures_stand_side_by_side_in_order():
    first, second = np.zeros((4, 5, 3)), np.full((4, 2, 3), 0.5)
    found = explain.side_by_side(first, second, gap=3)
    assert found.shape == (4, 10, 3)
    assert np.array_equal(found[:, :5], first)
    assert np.array_equal(found[:, 5:8], np.ones((4, 3, 3)))
    assert np.array_equal(found[:, 8:], second)


def test_a_grey_image_becomes_a_picture_in_colours_too():
    image, normalized = RNG.uniform(size=(4, 5, 1)), RNG.uniform(size=(4, 5))
    masked = explain.masked_image(image, normalized)
    np.testing.assert_allclose(masked, (image * normalized[..., None]).repeat(3, 2), rtol=1e-5)
    row = explain.side_by_side(image, masked, gap=0)
    np.testing.assert_allclose(row, np.concatenate([image.repeat(3, 2), masked], 1), rtol=1e-5)
