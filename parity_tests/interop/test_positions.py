"""Resized positions equal timm's, transformers', torchvision's and scipy's, in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import zoom
from timm.layers import resample_abs_pos_embed

from jaxvit.errors import UserError
from jaxvit.interop.positions import METHODS, grid_of, resize_positions
from parity_tests.comparison import max_difference

GRIDS = [(7, 12), (12, 7), (5, 6), (16, 37), (37, 16), (1, 3), (3, 1), (2, 5), (14, 24), (13, 6)]


def positions(grid: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 1 + grid * grid, 3))


def by_torch(grid: int, new: int, **options) -> np.ndarray:
    square = torch.from_numpy(positions(grid)[:, 1:]).reshape(1, grid, grid, 3)
    out = F.interpolate(square.permute(0, 3, 1, 2), (new, new), mode="bicubic", **options)
    return out.permute(0, 2, 3, 1).reshape(1, new * new, 3).numpy()


EXPECTED = {
    "bicubic_antialias": lambda old, new: by_torch(old, new, antialias=True),
    "bicubic": lambda old, new: by_torch(old, new, align_corners=False),
    "bicubic_aligned": lambda old, new: by_torch(old, new, align_corners=True),
    "zoom": lambda old, new: zoom(
        positions(old)[0, 1:].reshape(old, old, 3), (new / old, new / old, 1), order=1
    ).reshape(1, -1, 3),
}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_equals_the_librarys_in_float64(method):
    for old, new in GRIDS:
        found = resize_positions(positions(old), new, method)
        assert found.shape == (1, 1 + new * new, 3)
        assert max_difference(found[:, 1:], EXPECTED[method](old, new)) < 1e-12, (old, new)
        np.testing.assert_array_equal(found[:, 0], positions(old)[:, 0])


def test_timms_own_function_gives_the_antialiased_ones():
    found = resize_positions(positions(7).astype(np.float32), 4, "bicubic_antialias")
    expected = resample_abs_pos_embed(torch.tensor(positions(7), dtype=torch.float32), [4, 4])
    assert found.dtype == np.float32
    assert max_difference(found, expected) < 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_the_same_grid_is_kept_to_the_bit(method):
    assert resize_positions(positions(5), 5, method).tobytes() == positions(5).tobytes()
    assert np.allclose(METHODS[method](5, 5), np.eye(5))


@pytest.mark.parametrize("method", METHODS)
def test_weights_sum_to_one(method):
    for old, new in GRIDS:
        assert np.allclose(METHODS[method](old, new).sum(axis=1), 1)


def test_a_grid_that_is_no_square_is_refused():
    assert grid_of(12) is None
    assert grid_of(0) is None
    with pytest.raises(UserError, match="square"):
        resize_positions(np.zeros((1, 13, 3)), 4, "bicubic")
