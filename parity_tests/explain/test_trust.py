"""Deletion and insertion against a plain loop, and the checks against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr

from jaxvit import explain
from jaxvit.data.photos import read_photo
from jaxvit.data.preprocessing import Geometry
from jaxvit.errors import UserError
from jaxvit.explain.masks import read_mask
from parity_tests.explain import cases

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def vit() -> cases.Case:
    return cases.small_vit()


@pytest.mark.parametrize("kind", ["deletion", "insertion"])
def test_the_most_important_pixels_change_first(vit, kind):
    importance = RNG.normal(size=(3, 16, 16)).astype(np.float32)
    importance[1, :4] = 2.0  # equal ones: row by row
    found = explain.pixel_curve(
        vit.logits, vit.images, vit.targets, importance, kind=kind, baselines=vit.baselines,
        steps=5, batch_size=4,
    )  # fmt: skip
    start, end = vit.images, vit.baselines
    if kind == "insertion":
        start, end = end, start
    np.testing.assert_allclose(found.share, [0, 0.2, 0.4, 0.6, 0.8, 1])
    for number in range(3):
        order = sorted(range(256), key=lambda i: (-importance[number].flat[i], i))  # noqa: B023
        for step, share in enumerate(found.share):
            image = start[number].reshape(256, 3).copy()
            chosen = order[: round(256 * share)]
            image[chosen] = end[number].reshape(256, 3)[chosen]
            logits = vit.logits(image.reshape(1, 16, 16, 3))
            expected = jax.nn.softmax(logits)[0, vit.targets[number]]
            assert found.probability[number, step] == pytest.approx(float(expected), rel=1e-4)
    p = found.probability
    np.testing.assert_allclose(found.area, (p[:, :-1] + p[:, 1:]).mean(axis=1) / 2, rtol=1e-6)


def test_a_better_explanation_has_the_better_areas():
    """Only the upper left quarter matters: its pixels raise class 1."""

    def function(images):
        seen = images[:, :4, :4].sum(axis=(1, 2, 3)) / 8
        return jnp.stack([jnp.zeros_like(seen), seen], axis=1)

    images = np.ones((1, 8, 8, 1), np.float32)
    right, wrong = np.zeros((2, 1, 8, 8), np.float32)
    right[:, :4, :4], wrong[:, 4:, 4:] = 1, 1
    areas = {
        (kind, name): explain.pixel_curve(function, images, 1, each, kind=kind).area[0]
        for kind in ("deletion", "insertion")
        for name, each in (("right", right), ("wrong", wrong))
    }
    assert areas["deletion", "right"] < areas["deletion", "wrong"] - 0.1
    assert areas["insertion", "right"] > areas["insertion", "wrong"] + 0.1


def test_permuted_weights_are_the_same_numbers_in_another_order(vit):
    found = explain.permuted(vit.variables, jax.random.key(0))
    leaves = [jax.tree.leaves(each["params"]) for each in (vit.variables, found)]
    for before, after in zip(*leaves, strict=True):
        assert before.shape == after.shape
        assert np.array_equal(np.sort(np.ravel(before)), np.sort(np.ravel(after)))
    assert not np.array_equal(leaves[0][-1], leaves[1][-1])
    other = jax.tree.leaves(explain.permuted(vit.variables, jax.random.key(1))["params"])
    assert any(not np.array_equal(a, b) for a, b in zip(leaves[1], other, strict=True))
    resnet = {"params": {"a": jnp.arange(5.0)}, "batch_stats": {"mean": jnp.arange(3.0)}}
    kept = explain.permuted(resnet, jax.random.key(0))["batch_stats"]["mean"]
    assert np.array_equal(kept, [0, 1, 2])


def test_the_rank_correlation_is_scipys():
    a, b = RNG.integers(0, 9, (2, 4, 5, 6)).astype(np.float32)
    expected = [spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(explain.rank_correlation(a, b), expected, rtol=1e-6)
    assert not explain.rank_correlation(np.ones((1, 4)), np.arange(4.0)[None]).any()


def test_the_most_important_pixel_is_looked_for_in_the_object():
    importance = np.zeros((2, 4, 4), np.float32)
    importance[0, 1, 2] = importance[1, 3, 0] = 1
    inside = np.zeros((2, 4, 4), bool)
    inside[:, 1, 2] = True
    assert explain.pointing_game(importance, inside).tolist() == [True, False]


@pytest.mark.parametrize("resize", ["squash", "short_side"])
def test_a_mask_is_resized_and_cut_like_its_photo(tmp_path, resize):
    """A white box on black, and a trimap of the same box with a border that is not inside."""
    trimap = np.full((30, 44), 2, np.uint8)
    trimap[4:22, 8:30] = 3
    trimap[6:20, 10:28] = 1
    photo = tmp_path / "pet.jpg.png"
    Image.fromarray(np.where(trimap == 1, 255, 0).astype(np.uint8)).save(photo)
    (tmp_path / "masks").mkdir()
    Image.fromarray(trimap).save(tmp_path / "masks" / "pet.jpg.png")
    geometry = Geometry(12, resize, 0.8, "bilinear")
    found = read_mask(tmp_path / "masks", photo, geometry)
    assert found.shape == (12, 12)
    assert 10 < found.sum() < 100
    assert np.array_equal(found, read_photo(photo, geometry, 1, True)[..., 0] >= 128)
    wider = read_mask(tmp_path / "masks", photo, geometry, (1, 3))
    assert wider.sum() > found.sum()
    importance = np.zeros((1, 12, 12), np.float32)
    importance[0, 5, 5] = 1
    assert found[5, 5]
    assert explain.pointing_game(importance, found[None]).all()
    for mask, says in (
        (trimap[1:], r"is \(29, 44\) and its photo \(30, 44\)"),
        (None, "cannot be"),
    ):
        (tmp_path / "masks" / "pet.jpg.png").unlink()
        if mask is not None:
            Image.fromarray(mask).save(tmp_path / "masks" / "pet.jpg.png")
        with pytest.raises(UserError, match=says):
            read_mask(tmp_path / "masks", photo, geometry)


def test_an_importance_of_another_shape_is_refused(vit):
    with pytest.raises(ValueError, match=r"importance of shape \(3, 16, 15\) does not fit"):
        explain.pixel_curve(
            vit.logits, vit.images, vit.targets, np.zeros((3, 16, 15)), kind="deletion"
        )
    with pytest.raises(ValueError, match="steps 0 is too small"):
        explain.pixel_curve(
            vit.logits, vit.images, vit.targets, np.zeros((3, 16, 16)), kind="deletion", steps=0
        )
