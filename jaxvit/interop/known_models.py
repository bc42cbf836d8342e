"""What is known of published models by their name or size, where no file beside them says it."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from jaxvit.config import IMAGENET_MEAN, IMAGENET_STD

HALF = (0.5, 0.5, 0.5)

# Width and layers -> heads, where these are not width / 64.
HEADS = {(1280, 32): 16, (1408, 40): 16, (1664, 48): 16, (1152, 27): 16}
HEAD_SIZE = 64


# From this size on, timm evaluates DeiT, MAE and AugReg without a margin.
LARGE, MARGIN = 384, 0.9


class Lineage(NamedTuple):
    """A family of published weights.

    Attributes:
      name: for people.
      pattern: searched in a name in lower case.
      values: of settings, by name.
      layouts: in which the name means this family; empty for all.
    """

    name: str
    pattern: str
    values: dict[str, Any]
    layouts: tuple[str, ...] = ()


def _images(
    mean: tuple[float, ...], std: tuple[float, ...], resize: str, share: float, filter_: str
) -> dict[str, Any]:
    return {
        "mean": mean, "std": std, "resize": resize, "crop_share": share, "interpolation": filter_,
    }  # fmt: skip


IMAGENET = (IMAGENET_MEAN, IMAGENET_STD)
# The first that matches counts.
LINEAGES = (
    Lineage(
        "DINOv2",
        r"dino[-_]?v2|(^|[^a-z])dinov2|(^|_)vit[sblg]14",
        _images(*IMAGENET, "short_side", 1.0, "bicubic"),
    ),
    Lineage(
        "DeiT", r"(^|[^a-z])deit([^a-z]|$)", _images(*IMAGENET, "short_side", MARGIN, "bicubic")
    ),
    Lineage(
        "DINO or MAE",
        r"(^|[^a-z])(dino|mae)([^a-z]|$)",
        _images(*IMAGENET, "short_side", MARGIN, "bicubic"),
    ),
    Lineage(
        "torchvision's SWAG",
        r"swag",
        _images(*IMAGENET, "short_side", 1.0, "bicubic"),
        ("torchvision",),
    ),
    Lineage(
        "torchvision's ViT-L/16",
        r"(^|[^a-z])vit_l_16",
        _images(*IMAGENET, "short_side", 224 / 242, "bilinear"),
        ("torchvision",),
    ),
    Lineage(
        "AugReg",
        r"augreg|in21k|(^|[^a-z])i21k",
        _images(HALF, HALF, "short_side", MARGIN, "bicubic"),
        ("timm",),
    ),
)


def values_at(lineage: Lineage, img_size: int) -> dict[str, Any]:
    """The settings of a family for models of a size."""
    if img_size >= LARGE and lineage.values["crop_share"] == MARGIN:
        return lineage.values | {"crop_share": 1.0}
    return lineage.values


def lineage_of(names: Iterable[str], layout: str) -> tuple[Lineage, str] | None:
    """The family that one of the names tells, and that name."""
    for name in names:
        for lineage in LINEAGES:
            if lineage.layouts and layout not in lineage.layouts:
                continue
            if re.search(lineage.pattern, name.lower()):
                return lineage, name
    return None
