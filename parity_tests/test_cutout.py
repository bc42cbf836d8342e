import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxvit.augment.boxes import Box, box_mask
from jaxvit.augment.cutout import apply_cutout, draw_cutout
from parity_tests.comparison import max_difference, to_nchw, to_nhwc
from torch_ref.cutout import Cutout


@pytest.mark.parametrize(("height", "width", "holes", "length"), [(20, 12, 2, 5), (9, 9, 1, 30)])
def test_replayed_draws_give_the_same_batch_as_torch(height, width, holes, length):
    torch.manual_seed(0)
    cutout = Cutout(holes, length)
    images = torch.randn(5, 3, height, width)
    draws = [cutout.draw(height, width) for _ in images]
    expected = torch.stack([cutout.apply(x, d) for x, d in zip(images, draws, strict=True)])
    targets = jnp.eye(5)
    edges = jnp.asarray(torch.stack(draws).int().numpy())  # (B, holes, 4)
    found, found_targets = apply_cutout(to_nhwc(images), targets, Box(*jnp.moveaxis(edges, 2, 0)))
    assert max_difference(to_nchw(found), expected) == 0
    assert found_targets is targets


def test_cutout_keeps_the_dtype_and_does_not_modify_its_input():
    """Defect 4 of the lab: a float64 mask promoted the image."""
    for dtype in (torch.float32, torch.float16):
        image = torch.ones(3, 8, 8, dtype=dtype)
        cut = Cutout(1, 4)(image)
        assert cut.dtype == dtype
        assert (image == 1).all()
        assert (cut == 0).any()


def test_holes_inside_the_image_have_side_length_and_uniform_centres():
    torch.manual_seed(0)
    ours = draw_cutout(jax.random.key(0), 500, 40, 30, 1, 5)
    theirs = torch.cat([Cutout(1, 5).draw(40, 30) for _ in range(500)])
    for top, left, bottom, right in (np.stack(ours, -1).reshape(-1, 4).T, theirs.numpy().T):
        inside = (top > 0) & (left > 0) & (bottom < 40) & (right < 30)
        assert inside.sum() > 300
        np.testing.assert_array_equal((bottom - top)[inside], 5)
        np.testing.assert_array_equal((right - left)[inside], 5)
        assert top.min() == 0  # holes may cross the border, where they are clipped
        assert bottom.max() == 40
        # The mean of a uniform centre is the image's centre, up to sampling error.
        np.testing.assert_allclose(((top + bottom) / 2)[inside].mean(), 20, atol=1.5)
        np.testing.assert_allclose(((left + right) / 2)[inside].mean(), 15, atol=1.5)


def test_box_mask_has_rows_before_columns():
    mask = np.asarray(box_mask(Box(*map(jnp.int32, (1, 2, 3, 6))), 4, 8))
    assert mask.shape == (4, 8)
    assert mask.sum() == 8
    assert mask[1:3, 2:6].all()
