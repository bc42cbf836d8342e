"""Claim 5: PyTorch's draws replay exactly, and both frameworks draw from equal distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torchvision import transforms

from jaxvit.augment.boxes import Box
from jaxvit.augment.cutmix import CutmixDraw, apply_cutmix, box_sides, draw_cutmix
from jaxvit.augment.cutout import apply_cutout, draw_cutout
from jaxvit.augment.geometry import draw_flip, draw_random_resized_crop
from jaxvit.augment.mixup import MixupDraw, apply_mixup, draw_mixup
from jaxvit.objectives.targets import smooth_labels
from parity_tests.comparison import REPLAY, max_difference, to_nchw, to_nhwc
from parity_tests.evidence import Evidence, Row, at_most, equal, same_distribution
from torch_ref.cutmix import Cutmix
from torch_ref.cutout import Cutout
from torch_ref.mixup import Mixup

TITLE = "Augmentation: recorded draws replayed, and the distributions of the draws"
LEVEL = 0.01 / 20  # significance level .01, divided among at most twenty tests
HEIGHT, WIDTH, BATCH = 40, 60, 16


def measure(quick: bool) -> Evidence:
    draws = 100 if quick else 500  # batches of 16
    return Evidence(
        replays()
        + mixup_distributions(draws)
        + cutmix_distributions(draws)
        + cutout_distributions(draws)
        + crop_distributions(draws)
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
    return rows + compared("Cutout", found, (cut, F.one_hot(labels, 5)))


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
