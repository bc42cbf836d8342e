"""Two small finished runs of the same images, for every command."""

import contextlib
import io
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import train_jax
from jaxvit import __main__ as program
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.save import save_pretrained
from tests.test_end_to_end import MEAN, STD, forward, make_images, probabilities_of, read_item


class Runs(NamedTuple):
    """Directories: the photos, and two runs that differ in their seed."""

    photos: Path
    first: Path
    second: Path


@pytest.fixture(scope="package")
def runs(_quick_compilation, tmp_path_factory) -> Runs:
    root = tmp_path_factory.mktemp("commands")
    make_images(root / "images")
    for seed in (1, 2):
        args = [
            "folder", "--data.dir", str(root / "images"), "--out", str(root / f"run{seed}"),
            "--data.cache-dir", str(root / "cache"), "--seed", str(seed), "--epochs", "4",
            "--batch-size", "8", "--val-every-epochs", "1", "--checkpoint.keep-best", "3",
            "--checkpoint.keep", "1", "--select", "best", "--model.img-size", "12",
            "--model.patch-size", "4", "--model.embed-dim", "12", "--model.num-heads", "2",
            "--model.num-layers", "2", "--model.dropout", "0", "--model.init", "torch",
            "--data.mean", *map(str, MEAN), "--data.std", *map(str, STD), "--optim.lr", "0.01",
            "--optim.ema-decay", "0", "--augment.mixup-alpha", "0", "--augment.cutmix-alpha", "0",
        ]  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()):
            assert train_jax.main(args) == 0
    return Runs(root / "images", root / "run1", root / "run2")


@pytest.fixture(scope="package")
def weights(runs) -> Path:
    """The first run's weights in timm's layout, without class names, cropped as ImageNet's are."""
    found = load_pretrained(runs.first)
    geometry = found.preprocessing.geometry._replace(
        resize="short_side", crop_share=0.75, interpolation="bicubic"
    )
    preprocessing = found.preprocessing._replace(geometry=geometry)
    path = runs.first.parent / "weights.safetensors"
    save_pretrained(found._replace(preprocessing=preprocessing, class_names=None), path, "timm")
    return path


def command(*args: str | Path) -> int:
    """python -m jaxvit ARGS, in this process."""
    return program.main(list(map(str, args)))


def scored_step(run: Path) -> int:
    """Of the checkpoint that the run says it scored."""
    return json.loads((run / "summary.json").read_text())["scored_step"]


def true_probabilities(run: Path, step: int, pixels: np.ndarray) -> np.ndarray:
    """Of uint8 (N, 12, 12, 3), computed in float64 from a checkpoint by NumPy."""
    return probabilities_of(forward(read_item(run, step, "params"), pixels))
