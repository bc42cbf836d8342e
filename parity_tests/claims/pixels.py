"""Claim 8: decoded, resized and normalised pixels agree with torchvision's."""

import math
from io import BytesIO

import jax.numpy as jnp
import numpy as np
from PIL import Image
from torchvision import transforms

from jaxvit.augment.normalize import normalize
from jaxvit.config import IMAGENET_MEAN, IMAGENET_STD
from jaxvit.data.images import decode_image
from jaxvit.data.preprocessing import Geometry
from parity_tests.comparison import SHARED
from parity_tests.evidence import Evidence, Row, distance, equal
from torch_ref.datasets import make_transform

TITLE = "Pixels: decoded, resized and normalised as by torchvision"
SIZES = (64, 224)
GEOMETRIES = (
    ("short_side", 0.9, "bicubic"), ("short_side", 0.875, "bilinear"), ("squash", 0.857, "bicubic"),
)  # fmt: skip


def pictures(quick: bool) -> dict[str, list[bytes]]:
    """Encoded files: noise of unusual shapes, and photographs if they were downloaded."""
    rng = np.random.default_rng(0)
    noise = []
    for number, size in enumerate([(37, 90), (300, 41), (64, 64), (5, 5), (1, 1), (501, 333)]):
        file = BytesIO()
        image = Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8))
        image.save(file, ("JPEG", "PNG")[number % 2])
        noise.append(file.getvalue())
    found = {"noise": noise}
    photographs = sorted((SHARED / "data" / "oxford-iiit-pet" / "images").glob("*.jpg"))
    if photographs:
        step = max(1, len(photographs) // (20 if quick else 300))
        found["photographs"] = [path.read_bytes() for path in photographs[::step]]
    return found


def measure(quick: bool) -> Evidence:
    rows: list[Row] = []
    for source, files in pictures(quick).items():
        for size in SIZES:
            raw = make_transform(size, [0.0], [1.0], normalized=False)
            normalized = make_transform(
                size, list(IMAGENET_MEAN), list(IMAGENET_STD), normalized=True
            )
            differing, ours, theirs = 0, [], []
            for data in files:
                image = Image.open(BytesIO(data)).convert("RGB")
                pixels = decode_image(data, Geometry(size), source)
                expected = (raw(image) * 255).round().byte().permute(1, 2, 0).numpy()
                differing += int((pixels != expected).sum())
                ours.append(pixels)
                theirs.append(normalized(image).permute(1, 2, 0).numpy())
            rows.append(
                equal(f"{len(files)} {source} at {size}: bytes", "differing bytes", differing)
            )
            batch = np.stack(ours)
            truth = (batch / 255.0 - np.asarray(IMAGENET_MEAN)) / np.asarray(IMAGENET_STD)
            found = normalize(jnp.asarray(batch), IMAGENET_MEAN, IMAGENET_STD)
            rows.append(
                distance(
                    f"{len(files)} {source} at {size}: normalised", found, np.stack(theirs), truth
                )
            )
        rows += [geometry_row(source, files, *each) for each in GEOMETRIES]
    return Evidence(rows)


def geometry_row(source: str, files: list[bytes], resize: str, share: float, filter: str) -> Row:
    """Bytes after torchvision's Resize and CenterCrop, and after Geometry."""
    size = 61
    between = math.floor(size / share)
    to = between if resize == "short_side" else (between, between)
    theirs = transforms.Compose(
        [
            transforms.Resize(to, transforms.InterpolationMode(filter)),
            transforms.CenterCrop(size),
        ]
    )
    geometry = Geometry(size, resize, share, filter)
    differing = sum(
        int((decode_image(data, geometry, source) != np.asarray(theirs(image))).sum())
        for data in files
        for image in [Image.open(BytesIO(data)).convert("RGB")]
    )
    name = f"{len(files)} {source}: {resize}, {filter}, crop of {share:g}"
    return equal(name, "differing bytes", differing)
