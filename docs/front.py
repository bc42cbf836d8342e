"""Draws docs/front.png: python docs/front.py RUN PHOTOS CERTIFICATE_JSON

RUN is a run of the preset `folder`, PHOTOS the folder that it was trained on, and CERTIFICATE_JSON
what `python -m parity_tests.certificate` wrote.
"""

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from jaxvit.interop.saved_run import classify, load_run

BLUE, RED, GREY = "#4477aa", "#cc6677", "#999999"
ROWS, COLUMNS = 2, 4


def draw_photos(panel, run: Path, photos: Path) -> None:
    """Photos of the test split, drawn at random, with the probability of the likeliest class."""
    names = list(json.loads((run / "split.json").read_text())["test"])
    chosen = [names[row] for row in np.random.default_rng(1).permutation(len(names))]
    chosen = chosen[: ROWS * COLUMNS]
    found = classify(load_run(run), [photos / name for name in chosen])
    axes = panel.subplots(ROWS, COLUMNS)
    for axis, name, probabilities in zip(axes.flat, chosen, found, strict=True):
        image = ImageOps.exif_transpose(Image.open(photos / name)).convert("RGB")
        axis.imshow(ImageOps.fit(image, (160, 160)))
        label, p = next(iter(probabilities.items()))
        right = label == name.partition("/")[0]
        axis.set_title(f"{label} {p:.0%}", fontsize=10, color=BLUE if right else RED)
        axis.axis("off")
    panel.suptitle("photos it has not seen (red: wrong)", fontsize=11)


def draw_accuracy(axis, run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    val = [line for line in lines if "val/accuracy" in line]
    epochs = [line["epoch"] for line in val]
    axis.plot(epochs, [line["val/accuracy"] for line in val], color=BLUE)
    bounds = ([line[f"val/accuracy_{end}"] for line in val] for end in ("low", "high"))
    axis.fill_between(epochs, *bounds, color=BLUE, alpha=0.2, lw=0)
    axis.set(title="validation accuracy, 95 % interval", xlabel="epoch", ylim=(0, 1))
    axis.title.set_fontsize(11)
    axis.grid(alpha=0.3)


def draw_parity(axis, certificate: Path) -> None:
    claims = json.loads(certificate.read_text())["claims"]
    rows = [row["details"] for claim in claims for row in claim["rows"]]
    pairs = [(row["torch_max"], row["jax_max"]) for row in rows if "jax_max" in row]
    theirs, ours = np.maximum(np.array(pairs), 1e-10).T
    axis.loglog(theirs, ours, ".", color=BLUE, ms=5, alpha=0.5)
    axis.plot([1e-10, 1e-1], [1e-10, 1e-1], color=GREY, lw=1)
    axis.set(title="distance from float64", xlabel="PyTorch", ylabel="JAX")
    axis.title.set_fontsize(11)
    axis.grid(alpha=0.3)


def main(run: Path, photos: Path, certificate: Path) -> None:
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=[5, 4, 3.6])
    draw_photos(left, run, photos)
    draw_accuracy(middle.subplots(), run)
    draw_parity(right.subplots(), certificate)
    figure.savefig(Path(__file__).with_name("front.png"), dpi=100)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
