"""The operations of RandAugment and TrivialAugment: torchvision's, to the byte."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, RandAugment, TrivialAugmentWide
from torchvision.transforms.autoaugment import _apply_op

from jaxvit.augment.operations import (
    LEVELS,
    OPERATIONS,
    SIGNED,
    OperationDraw,
    apply_operations,
    product,
)
from jaxvit.augment.per_image import per_image
from jaxvit.augment.rand_augment import rand_magnitudes
from jaxvit.augment.trivial_augment import trivial_magnitudes
from parity_tests.comparison import to_nchw, to_nhwc

SPACES = {
    "trivial": (lambda h, w: TrivialAugmentWide()._augmentation_space(LEVELS),
                lambda h, w: trivial_magnitudes()),
    "rand": (lambda h, w: RandAugment()._augmentation_space(LEVELS, (h, w)), rand_magnitudes),
}  # fmt: skip


def pictures(height: int, width: int, channels: int) -> torch.Tensor:
    """Noise, few values, ramps, one colour, nearly one colour, and two values; bytes."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (6, channels, height, width), dtype=torch.uint8)
    images[1] = images[1] // 64 * 50 + 30
    for channel, values in enumerate((110, 142, 64)[:channels]):  # stretches differ by rounding
        ramp = torch.arange(height * width).remainder(values) + 20
        images[2, channel] = ramp.reshape(height, width)
    images[3] = 77
    images[4], images[4, :, 1, 1] = 130, 131
    images[5] = (images[5] > 200) * 255
    return images


def every_level(number: int) -> OperationDraw:
    """Each operation at each level with both signs, for so many images."""
    operation, level, negative = np.indices((14, LEVELS, 2)).reshape(3, -1).repeat(number, axis=1)
    return OperationDraw(jnp.asarray(operation), jnp.asarray(level), jnp.asarray(negative == 1))


def expected(images: torch.Tensor, space: dict) -> torch.Tensor:
    """What torchvision makes of `images` with every_level."""
    changed = []
    for name, (magnitudes, signed) in space.items():
        for level in range(LEVELS):
            magnitude = magnitudes[level].item() if magnitudes.ndim else 0.0
            for sign in (1, -1 if signed else 1):
                m = sign * magnitude
                changed.append(_apply_op(images, name, m, InterpolationMode.NEAREST, None))
    return torch.cat(changed)


def in_the_middle(operation: int, m: float, height: int, width: int) -> np.ndarray:
    """Whether a pixel's source is within 1e-4 of the middle between two pixels, (H, W)."""
    x, y = np.arange(width)[None] - (width - 1) / 2, np.arange(height)[:, None] - (height - 1) / 2
    x, y, angle = x + 0 * y, y + 0 * x, np.deg2rad(m)
    from_x, from_y = {
        "shear_x": (x + m * (y + height / 2), y),
        "shear_y": (x, y + m * (x + width / 2)),
        "rotate": (np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y),
    }.get(OPERATIONS[operation].__name__, (x, y))
    parts = np.stack([from_x + (width - 1) / 2, from_y + (height - 1) / 2]) % 1
    return (np.abs(parts - 0.5) < 1e-4).any(axis=0)


@pytest.mark.parametrize(
    ("space", "height", "width", "channels"),
    [("trivial", 32, 32, 3), ("trivial", 9, 14, 1), ("trivial", 41, 64, 1), ("rand", 17, 20, 3)],
)
def test_every_operation_at_every_level_is_torchvisions_to_the_byte(space, height, width, channels):
    """But where a source lies in the middle between two pixels, as operations.py says."""
    images = pictures(height, width, channels)
    theirs, magnitudes = (make(height, width) for make in SPACES[space])
    draw = every_level(len(images))
    found = apply_operations(
        jnp.tile(to_nhwc(images), (14 * LEVELS * 2, 1, 1, 1)), draw, magnitudes
    )
    wrong = (to_nchw(found) != expected(images, theirs).numpy()).any(axis=1)  # (rows, H, W)
    for row in np.flatnonzero(wrong.any(axis=(1, 2))):
        operation, level = int(draw.operation[row]), int(draw.level[row])
        m = float(magnitudes[operation, level]) * (-1 if draw.negative[row] else 1)
        middle = in_the_middle(operation, m, height, width)
        assert not (wrong[row] & ~middle).any(), (OPERATIONS[operation].__name__, m)
    assert wrong.mean() < 1e-4


def test_images_of_two_pixels_are_not_sharpened():
    images = pictures(2, 9, 3)
    draw = OperationDraw(jnp.full(6, 9), jnp.full(6, 30), jnp.zeros(6, bool))
    found = apply_operations(to_nhwc(images), draw, trivial_magnitudes())
    np.testing.assert_array_equal(to_nchw(found), images)


@pytest.mark.parametrize("space", SPACES)
def test_magnitudes_are_torchvisions_to_the_bit(space):
    theirs, magnitudes = (make(37, 224) for make in SPACES[space])
    for row, signed, (values, is_signed) in zip(
        magnitudes, SIGNED, theirs.values(),
        strict=True,
    ):  # fmt: skip
        assert signed == is_signed
        np.testing.assert_array_equal(row, np.broadcast_to(values.numpy(), LEVELS))


def test_a_product_is_rounded_before_it_is_added():
    """A contracted multiply-add rounds once, and a byte is cut off a sum."""
    factors = np.linspace(-1, 2, 301, dtype=np.float32)
    values = np.arange(256, dtype=np.float32)
    rest = np.float32(0.7) * values

    @jax.jit
    @jax.vmap
    def found(factor):
        return product(jnp.arange(256, dtype=jnp.uint8), factor) + rest

    np.testing.assert_array_equal(found(factors), values * factors[:, None] + rest)


def test_the_loop_over_images_computes_what_vmap_computes():
    draw = every_level(6)
    rows = np.flatnonzero((np.arange(5208) % 61 == 0) | (np.asarray(draw.operation) == 8))
    operations, levels = draw.operation[rows], draw.level[rows]
    images = to_nhwc(pictures(9, 14, 1))[rows % 6]
    magnitudes = jnp.asarray(trivial_magnitudes())[operations, levels]

    def one(image, operation, magnitude):
        return jax.lax.switch(operation, OPERATIONS, image, magnitude)

    looped = jax.jit(lambda *batch: per_image(one, *batch))
    expected = jax.jit(jax.vmap(one))(images, operations, magnitudes)
    np.testing.assert_array_equal(looped(images, operations, magnitudes), expected)
    for platform, loops in (("cpu", True), ("cuda", False)):
        program = looped.trace(images, operations, magnitudes).lower(lowering_platforms=(platform,))
        assert ("stablehlo.while" in program.as_text()) == loops
