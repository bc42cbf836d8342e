"""Claim 5: PyTorch's draws replay exactly, and both frameworks draw from equal distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torchvision import transforms

from jaxvit.augment.boxes import Box
from jaxvit.augment.colour import apply_colour_jitter, draw_colour_jitter
from jaxvit.augment.cutmix import CutmixDraw, apply_cutmix, box_sides, draw_cutmix
from jaxvit.augment.cutout import apply_cutout, draw_cutout
from jaxvit.augment.geometry import draw_flip, draw_random_resized_crop
from jaxvit.augment.mixup import MixupDraw, apply_mixup, draw_mixup
from jaxvit.augment.operations import SIGNED, OperationDraw
from jaxvit.augment.rand_augment import apply_rand_augment
from jaxvit.augment.rotation import RotationDraw, apply_rotation, draw_rotation
from jaxvit.augment.shift import ShiftDraw, apply_shift, draw_shift
from jaxvit.augment.trivial_augment import apply_trivial_augment, draw_trivial_augment
from jaxvit.objectives.targets import smooth_labels
from parity_tests.comparison import REPLAY, max_difference, to_nchw, to_nhwc
from parity_tests.evidence import Evidence, Row, at_most, equal, same_distribution
from parity_tests.torchvision_draws import colour_draw, operation_draw, recorded
from torch_ref.cutmix import Cutmix
from torch_ref.cutout import Cutout
from torch_ref.mixup import Mixup

TITLE = "Augmentation: recorded draws replayed, and the distributions of the draws"
LEVEL = 0.01 / 30  # significance level .01, divided among at most thirty tests
ROTATION = COLOUR = 2e-5  # positions, and hues of nearly grey pixels, have errors that grow
HEIGHT, WIDTH, BATCH = 40, 60, 16


def measure(quick: bool) -> Evidence:
    draws = 100 if quick else 500  # batches of 16
    return Evidence(
        replays()
        + mixup_distributions(draws)
        + cutmix_distributions(draws)
        + cutout_distributions(draws)
        + crop_distributions(draws)
        + pixel_distributions(draws)
    )


# Replays.


def replays() -> list[Row]:
    """Draws recorded from PyTorch, applied by both frameworks."""
    torch.manual_seed(0)
    images = torch.randn(BATCH, 3, HEIGHT, WIDTH)
    labels = torch.arange(BATCH) % 5
    targets = smooth_labels(jnp.asarray(labels.int().numpy()), 5)
    rows = []

    mixup = Mixup(5, alpha=0.8)
    draw = mixup.draw(BATCH)
    expected = mixup.apply(images, labels, draw)
    found = apply_mixup(
        to_nhwc(images),
        targets,
        MixupDraw(jnp.float32(draw.lam), jnp.asarray(draw.partner.int().numpy())),
    )
    rows += compared("Mixup", found, expected)

    cutmix = Cutmix(alpha=1.0, p=0.7)
    draw = cutmix.draw(BATCH, HEIGHT, WIDTH)
    mixed, a, b, lam = cutmix.apply(images, labels, draw)
    mixed_targets = lam[:, None] * F.one_hot(a, 5) + (1 - lam[:, None]) * F.one_hot(b, 5)
    box = Box(*jnp.asarray(draw.boxes.int().numpy()).T)
    partner = jnp.asarray(draw.partner.int().numpy())
    found = apply_cutmix(to_nhwc(images), targets, CutmixDraw(partner, box))
    rows += compared("CutMix", found, (mixed, mixed_targets))

    cutout = Cutout(2, 9)
    holes = [cutout.draw(HEIGHT, WIDTH) for _ in images]
    cut = torch.stack([cutout.apply(x, h) for x, h in zip(images, holes, strict=True)])
    edges = jnp.asarray(torch.stack(holes).int().numpy())
    found = apply_cutout(to_nhwc(images), targets, Box(*jnp.moveaxis(edges, 2, 0)))
    rows += compared("Cutout", found, (cut, F.one_hot(labels, 5)))
    return rows + pixel_replays(torch.rand(BATCH, 3, 24, 24), targets)


def pixel_replays(images: torch.Tensor, targets) -> list[Row]:
    """Augmentations before normalisation, of pixels in [0, 1] and of bytes."""
    shifted, corners = [], []
    for image in images:
        padded = transforms.functional.pad(image, [4])
        corners.append(transforms.RandomCrop.get_params(padded, (24, 24)))
        shifted.append(transforms.functional.crop(padded, *corners[-1]))
    draw = ShiftDraw(*jnp.asarray(corners, jnp.int32).T[:2])
    found, _ = apply_shift(to_nhwc(images), targets, draw, 4, jnp.zeros(3))
    rows = [at_most("shift replayed", "difference", max_difference(to_nchw(found),
            torch.stack(shifted)), 0)]  # fmt: skip

    angles = [transforms.RandomRotation.get_params([-35.0, 35.0]) for _ in images]
    turned = torch.stack([
        transforms.functional.rotate(image, angle, transforms.InterpolationMode.BILINEAR, fill=0)
        for image, angle in zip(images, angles, strict=True)
    ])  # fmt: skip
    draw = RotationDraw(jnp.asarray(angles, jnp.float32))
    found, _ = apply_rotation(to_nhwc(images), targets, draw, jnp.zeros(3), "bilinear")
    rows.append(at_most("rotation replayed", "difference", max_difference(to_nchw(found), turned),
                        ROTATION))  # fmt: skip

    jitter = transforms.RandomApply([transforms.ColorJitter(0.6, 0.5, 0.4, 0.2)], 0.8)
    changed, draws = [], []
    for image in images:
        with recorded() as drawn:
            changed.append(jitter(image))
        draws.append(drawn)
    found, _ = apply_colour_jitter(to_nhwc(images), targets, colour_draw(draws, 0.8))
    rows.append(at_most("colour jitter replayed", "difference",
                        max_difference(to_nchw(found), torch.stack(changed)), COLOUR))  # fmt: skip

    pixels = (images * 255).to(torch.uint8).repeat(8, 1, 1, 1)
    for name, transform, apply, level in (
        ("TrivialAugment", transforms.TrivialAugmentWide(), apply_trivial_augment, None),
        ("RandAugment", transforms.RandAugment(1, 17), apply_rand_augment, 17),
    ):
        changed, draws = [], []
        for image in pixels:
            with recorded() as drawn:
                changed.append(transform(image))
            draws.append(drawn)
        draw = operation_draw(draws, level)
        if level is not None:
            draw = OperationDraw(*(x[None] for x in draw))
        found, _ = apply(to_nhwc(pixels), jnp.tile(targets, (8, 1)), draw)
        differing = int((to_nchw(found) != torch.stack(changed).numpy()).sum())
        rows.append(equal(f"{name} replayed", "differing bytes", differing))
    return rows


def compared(name: str, found, expected) -> list[Row]:
    return [
        at_most(f"{name} replayed: {part}", "difference", max_difference(ours, theirs), REPLAY)
        for part, ours, theirs in (
            ("images", to_nchw(found[0]), expected[0]),
            ("targets", found[1], expected[1]),
        )
    ]


# Distributions.


def kolmogorov_smirnov(quantity: str, ours, theirs) -> Row:
    """The two-sample test for real values."""
    p_value = stats.ks_2samp(np.ravel(ours), np.ravel(theirs)).pvalue
    return same_distribution(quantity, "Kolmogorov-Smirnov", p_value, LEVEL)


def chi_squared(quantity: str, ours, theirs, num_values: int) -> Row:
    """The two-sample test for integers in [0, num_values)."""
    counts = [np.bincount(np.ravel(x), minlength=num_values) for x in (ours, theirs)]
    table = np.stack(counts)[:, np.sum(counts, axis=0) > 0]
    p_value = stats.chi2_contingency(table).pvalue
    return same_distribution(quantity, "chi-squared", p_value, LEVEL)


def keys(draws: int, seed: int) -> jax.Array:
    return jax.random.split(jax.random.key(seed), draws)


def offsets(partner: np.ndarray) -> np.ndarray:
    """(partner[n] - n) mod BATCH; uniform for a uniform permutation."""
    return (np.asarray(partner) - np.arange(BATCH)) % BATCH


def mixup_distributions(draws: int) -> list[Row]:
    torch.manual_seed(1)
    alpha = 0.4
    ours = jax.jit(jax.vmap(lambda key: draw_mixup(key, BATCH, alpha)))(keys(8 * draws, 1))
    mixup = Mixup(5, alpha)
    theirs = [mixup.draw(BATCH) for _ in range(8 * draws)]
    partners = np.stack([draw.partner for draw in theirs])
    return [
        kolmogorov_smirnov("Mixup: lam", ours.lam, [draw.lam.item() for draw in theirs]),
        chi_squared("Mixup: pairing", offsets(ours.partner), offsets(partners), BATCH),
        not_constant("Mixup: one lam per batch", ours.lam),
    ]


def not_constant(quantity: str, values) -> Row:
    """A row that holds if at least 99 % of the values are distinct."""
    distinct = len(np.unique(values))
    return Row(
        quantity,
        "distinct values",
        distinct,
        "at least 99 % of all",
        distinct >= 0.99 * np.size(values),
    )


def cutmix_distributions(draws: int) -> list[Row]:
    torch.manual_seed(2)
    alpha, p = 1.0, 0.6
    ours = jax.jit(jax.vmap(lambda key: draw_cutmix(key, BATCH, HEIGHT, WIDTH, alpha, p)))(
        keys(draws, 2)
    )
    cutmix = Cutmix(alpha, p)
    theirs = [cutmix.draw(BATCH, HEIGHT, WIDTH) for _ in range(draws)]
    ours_boxes = np.stack(ours.box, -1).reshape(-1, 4)
    their_boxes = torch.cat([draw.boxes for draw in theirs]).numpy()
    partners = np.stack([draw.partner for draw in theirs])
    ours_cut, their_cut = (boxes[area(boxes) > 0] for boxes in (ours_boxes, their_boxes))
    within = [
        np.std(area(boxes.reshape(draws, BATCH, 4)), axis=1) for boxes in (ours_boxes, their_boxes)
    ]
    lam = 1 - ((np.arange(97) + 0.5**0.5) / 97) ** 2  # no side is near an integer
    our_sides = box_sides(jnp.float32(lam), HEIGHT, WIDTH)
    their_sides = np.transpose([Cutmix.box_sides(x, HEIGHT, WIDTH) for x in lam])
    return [
        equal(
            "CutMix: sides of the box for each lam",
            "differing boxes",
            int((np.stack(our_sides) != their_sides).any(axis=0).sum()),
        ),
        kolmogorov_smirnov("CutMix: area", area(ours_cut), area(their_cut)),
        kolmogorov_smirnov("CutMix: row of the centre", *centres(ours_cut, their_cut, 0)),
        kolmogorov_smirnov("CutMix: column of the centre", *centres(ours_cut, their_cut, 1)),
        kolmogorov_smirnov("CutMix: spread of areas within a batch", *within),
        chi_squared("CutMix: applied", area(ours_boxes) > 0, area(their_boxes) > 0, 2),
        chi_squared("CutMix: pairing", offsets(ours.partner), offsets(partners), BATCH),
    ]


def area(boxes: np.ndarray) -> np.ndarray:
    """Pixels of each box; boxes are rows (top, left, bottom, right)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def centres(ours: np.ndarray, theirs: np.ndarray, axis: int) -> list[np.ndarray]:
    """Row (axis 0) or column (axis 1) of the centre of each box, for both frameworks."""
    return [(boxes[:, axis] + boxes[:, axis + 2]) / 2 for boxes in (ours, theirs)]


def cutout_distributions(draws: int) -> list[Row]:
    torch.manual_seed(3)
    ours = draw_cutout(jax.random.key(3), draws * BATCH, HEIGHT, WIDTH, 1, 9)
    ours = np.stack(ours, -1).reshape(-1, 4)
    theirs = torch.cat([Cutout(1, 9).draw(HEIGHT, WIDTH) for _ in range(draws * BATCH)]).numpy()
    return [
        chi_squared("Cutout: area", area(ours), area(theirs), 82),
        kolmogorov_smirnov("Cutout: row of the centre", *centres(ours, theirs, 0)),
        kolmogorov_smirnov("Cutout: column of the centre", *centres(ours, theirs, 1)),
    ]


def crop_distributions(draws: int) -> list[Row]:
    torch.manual_seed(4)
    scale, ratio = (0.2, 0.9), (0.6, 1.5)
    number = draws * BATCH
    ours = np.stack(
        draw_random_resized_crop(jax.random.key(4), number, HEIGHT, WIDTH, scale, ratio)
    )
    image = torch.zeros(3, HEIGHT, WIDTH)
    theirs = np.array(
        [
            transforms.RandomResizedCrop.get_params(image, scale=list(scale), ratio=list(ratio))
            for _ in range(number)
        ]
    ).T
    flips = np.asarray(draw_flip(jax.random.key(5), number, 0.3).flip)
    their_flips = torch.rand(number).numpy() < 0.3
    return [
        *(
            kolmogorov_smirnov(f"crop: {name}", ours[i], theirs[i])
            for i, name in enumerate(("top", "left", "height", "width"))
        ),
        chi_squared("flip: applied", flips, their_flips, 2),
    ]


def pixel_distributions(draws: int) -> list[Row]:
    torch.manual_seed(5)
    number = draws * BATCH
    shift = draw_shift(jax.random.key(6), number, 4)
    image = torch.zeros(3, 28, 28)  # padded by 4
    theirs = np.array([transforms.RandomCrop.get_params(image, (20, 20)) for _ in range(number)])
    angles = draw_rotation(jax.random.key(7), number, 20.0).degrees
    turns = [transforms.RandomRotation.get_params([-20.0, 20.0]) for _ in range(number)]
    jitter = transforms.ColorJitter(0.4, 1.5, 0.2, 0.1)
    ranges = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    changes = [jitter.get_params(*ranges) for _ in range(number)]
    ours = draw_colour_jitter(jax.random.key(8), number, 0.4, 1.5, 0.2, 0.1)
    places = 4 ** np.arange(4)
    trivial = draw_trivial_augment(jax.random.key(9), number)
    transform, pixel, found = transforms.TrivialAugmentWide(), torch.zeros(3, 3, 3).byte(), []
    for _ in range(number):
        with recorded() as drawn:
            transform(pixel)
        found.append(drawn)
    drawn = operation_draw(found)
    levelled = [np.isin(np.asarray(x.operation), np.arange(1, 12)) for x in (trivial, drawn)]
    signed = [SIGNED[np.asarray(x.operation)] for x in (trivial, drawn)]
    return [
        chi_squared("shift: top", shift.top, theirs[:, 0], 9),
        chi_squared("shift: left", shift.left, theirs[:, 1], 9),
        kolmogorov_smirnov("rotation: angle", angles, turns),
        *(
            kolmogorov_smirnov(
                f"jitter: {name}", getattr(ours, name), [change[1 + i] for change in changes]
            )
            for i, name in enumerate(("brightness", "contrast", "saturation", "hue"))
        ),
        chi_squared(
            "jitter: order",
            np.asarray(ours.order) @ places,
            [change[0].numpy() @ places for change in changes],
            256,
        ),
        chi_squared("TrivialAugment: operation", trivial.operation, drawn.operation, 14),
        chi_squared(
            "TrivialAugment: level", trivial.level[levelled[0]], drawn.level[levelled[1]], 31
        ),
        chi_squared(
            "TrivialAugment: sign", trivial.negative[signed[0]], drawn.negative[signed[1]], 2
        ),
    ]
