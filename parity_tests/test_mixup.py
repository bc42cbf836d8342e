import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxvit.augment.mixup import MixupDraw, apply_mixup, draw_mixup
from jaxvit.objectives.targets import smooth_labels
from parity_tests.comparison import REPLAY, max_difference, to_nchw, to_nhwc
from torch_ref.mixup import Mixup


@pytest.mark.parametrize("shape", [(5, 3, 12, 20), (1, 1, 7, 7), (8, 3, 16, 16)])
def test_replayed_draws_give_the_same_batch_as_torch(shape):
    torch.manual_seed(3)
    mixup = Mixup(num_classes=4, alpha=0.8)
    images, labels = torch.randn(shape), torch.randint(4, (shape[0],))
    draw = mixup.draw(shape[0])
    expected_images, expected_targets = mixup.apply(images, labels, draw)
    found_images, found_targets = apply_mixup(
        to_nhwc(images),
        smooth_labels(jnp.asarray(labels.int().numpy()), 4),
        MixupDraw(jnp.float32(draw.lam), jnp.asarray(draw.partner.int().numpy())),
    )
    assert max_difference(to_nchw(found_images), expected_images) < REPLAY
    assert max_difference(found_targets, expected_targets) < REPLAY


def test_torchs_call_equals_draw_then_apply():
    mixup = Mixup(num_classes=4)
    images, labels = torch.randn(6, 3, 8, 8), torch.arange(6) % 4
    torch.manual_seed(1)
    called = mixup(images, labels)
    torch.manual_seed(1)
    applied = mixup.apply(images, labels, mixup.draw(6))
    assert all(torch.equal(a, b) for a, b in zip(called, applied, strict=True))


def test_alpha_zero_returns_the_images_unchanged_and_one_hot_labels():
    images, labels = torch.randn(3, 3, 8, 8), torch.tensor([2, 0, 1])
    mixed, targets = Mixup(num_classes=3, alpha=0.0)(images, labels)
    assert mixed is images
    assert torch.equal(targets, torch.eye(3)[labels])


def test_draws_have_the_same_distribution_as_torch():
    keys = jax.random.split(jax.random.key(0), 4000)
    ours = jax.vmap(lambda key: draw_mixup(key, 4, 0.4))(keys)
    torch.manual_seed(0)
    mixup = Mixup(num_classes=2, alpha=0.4)
    theirs = np.array([mixup.draw(4).lam for _ in range(4000)])
    quantiles = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(
        np.quantile(ours.lam, quantiles), np.quantile(theirs, quantiles), atol=0.05
    )
    np.testing.assert_array_equal(np.sort(ours.partner, axis=1), np.tile(np.arange(4), (4000, 1)))
    np.testing.assert_allclose((ours.partner == np.arange(4)).mean(0), 0.25, atol=0.04)
