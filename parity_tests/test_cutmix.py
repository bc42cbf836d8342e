import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jaxvit.augment.boxes import Box
from jaxvit.augment.cutmix import CutmixDraw, apply_cutmix, draw_cutmix
from jaxvit.objectives.targets import smooth_labels
from parity_tests.comparison import REPLAY, max_difference, to_nchw, to_nhwc
from torch_ref.cutmix import Cutmix

apply = jax.jit(apply_cutmix)
draw_boxes = jax.jit(draw_cutmix, static_argnums=(1, 2, 3, 4, 5))


def as_jax(draw) -> CutmixDraw:
    """A draw of torch_ref's Cutmix as a draw of jaxvit's."""
    edges = jnp.asarray(draw.boxes.int().numpy())  # (B, 4)
    return CutmixDraw(jnp.asarray(draw.partner.int().numpy()), Box(*edges.T))


@pytest.mark.parametrize("shape", [(7, 3, 100, 200), (1, 1, 8, 8), (16, 3, 33, 17)])
def test_replayed_draws_give_the_same_batch_as_torch(shape):
    torch.manual_seed(4)
    cutmix = Cutmix(alpha=1.0, p=0.7)
    images, labels = torch.randn(shape), torch.randint(5, (shape[0],))
    draw = cutmix.draw(shape[0], *shape[2:])
    expected_images, a, b, lam = cutmix.apply(images, labels, draw)
    expected_targets = lam[:, None] * F.one_hot(a, 5) + (1 - lam[:, None]) * F.one_hot(b, 5)
    found_images, found_targets = apply(
        to_nhwc(images), smooth_labels(jnp.asarray(labels.int().numpy()), 5), as_jax(draw)
    )
    assert max_difference(to_nchw(found_images), expected_images) == 0
    assert max_difference(found_targets, expected_targets) < REPLAY


def test_lam_is_the_fraction_of_pixels_kept_and_boxes_reach_every_column():
    """Defect 2 of the lab: on 100 x 200 most lam were wrong and no box reached past column 100."""
    torch.manual_seed(0)
    images = torch.arange(64.0)[:, None, None, None].expand(64, 1, 100, 200)
    mixed, _, _, lam = Cutmix(p=1.0)(images, torch.arange(64))
    kept = (mixed == images).float().mean(dim=(1, 2, 3))
    partner_is_self = kept == 1
    assert torch.allclose(kept[~partner_is_self], lam[~partner_is_self], atol=1e-6)
    cut_columns = (mixed != images).any(dim=2).any(dim=0).squeeze()
    assert cut_columns[100:].float().mean() > 0.9

    ours, _ = apply(
        to_nhwc(images), jnp.eye(64), draw_boxes(jax.random.key(0), 64, 100, 200, 1.0, 1.0)
    )
    assert (np.asarray(ours)[..., 0] != np.arange(64)[:, None, None]).any((0, 1))[100:].mean() > 0.9


def test_swapping_rows_and_columns_of_the_box_is_detected():
    cutmix = Cutmix(p=1.0)
    torch.manual_seed(0)
    images, labels = torch.randn(6, 3, 24, 24), torch.arange(6)
    draw = cutmix.draw(6, 24, 24)
    partner, box = as_jax(draw)
    swapped = CutmixDraw(partner, Box(box.left, box.top, box.right, box.bottom))
    found, _ = apply(to_nhwc(images), jnp.eye(6), swapped)
    expected = cutmix.apply(images, labels, draw)[0]
    assert max_difference(to_nchw(found), expected) > 0.1


@pytest.mark.parametrize(("alpha", "p"), [(0.0, 0.5), (-1.0, 0.5), (1.0, 0.0)])
def test_alpha_or_p_of_zero_returns_the_batch_unchanged(alpha, p):
    images, labels = torch.randn(4, 3, 8, 8), torch.arange(4)
    mixed, a, b, lam = Cutmix(alpha, p)(images, labels)
    assert mixed is images
    assert torch.equal(a, labels)
    assert torch.equal(b, labels)
    assert torch.equal(lam, torch.ones(4))


def test_torchs_seed_determines_the_result():
    """Defect 3 of the lab: two random generators, and the seed set only one of them."""
    images, labels = torch.randn(8, 3, 16, 16), torch.arange(8)
    results = []
    for noise in (0, 1):
        np.random.seed(noise)  # must have no effect  # noqa: NPY002
        torch.manual_seed(5)
        results.append(Cutmix()(images, labels))
    assert all(torch.equal(x, y) for x, y in zip(*results, strict=True))


def test_draws_have_the_same_distribution_as_torch():
    height, width, p, batch = 40, 60, 0.6, 64
    ours = jax.vmap(lambda key: draw_boxes(key, batch, height, width, 1.0, p))(
        jax.random.split(jax.random.key(0), 60)
    )
    torch.manual_seed(0)
    theirs = torch.cat([Cutmix(1.0, p).draw(batch, height, width).boxes for _ in range(60)])
    our_boxes = np.stack(ours.box, -1).reshape(-1, 4)
    for edges in (our_boxes, theirs.numpy()):
        top, left, bottom, right = edges.T
        assert (top >= 0).all()
        assert (left >= 0).all()
        assert (bottom <= height).all()
        assert (right <= width).all()
    areas = [
        ((e[:, 2] - e[:, 0]) * (e[:, 3] - e[:, 1])) / (height * width)
        for e in (our_boxes, theirs.numpy())
    ]
    for area in areas:  # an applied box can have no pixels, but rarely does
        assert abs((area > 0).mean() - p) < 0.04
    quantiles = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(
        *(np.quantile(area[area > 0], quantiles) for area in areas), atol=0.05
    )
