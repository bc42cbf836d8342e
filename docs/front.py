"""Draws docs/front.png: python docs/front.py DIGITS_RUN FOLDER_RUN CERTIFICATE_JSON

DIGITS_RUN is a run of the preset `digits`, FOLDER_RUN one of the preset `folder`, and
CERTIFICATE_JSON what `python -m parity_tests.certificate` wrote.
"""

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from jaxvit.data.datasets import load_dataset
from jaxvit.interop.saved_run import load_run

BLUE, RED, GREY = "#4477aa", "#cc6677", "#999999"
ROWS, COLUMNS = 3, 6


def draw_digits(panel, run_directory: Path) -> None:
    """Digits of the test split, evenly from end to end, with the likeliest class."""
    run = load_run(run_directory)
    data = load_dataset(run.config.data, run.model.img_size, run.model.in_channels)
    rows = np.linspace(0, len(data.test) - 1, ROWS * COLUMNS).astype(int)
    batch = data.test.take(rows)
    probabilities = np.asarray(run.probabilities(batch["image"]))
    axes = panel.subplots(ROWS, COLUMNS)
    for axis, image, label, p in zip(
        axes.flat, batch["image"], batch["label"], probabilities, strict=True
    ):
        axis.imshow(image[:, :, 0], cmap="gray_r")
        colour = BLUE if p.argmax() == label else RED
        axis.set_title(f"{run.class_names[p.argmax()]}: {p.max():.0%}", fontsize=8, color=colour)
        axis.axis("off")
    panel.suptitle("digits it has not seen", fontsize=11)


def draw_accuracy(axis, run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    val = [line for line in lines if "val/accuracy" in line]
    epochs = [line["epoch"] for line in val]
    axis.plot(epochs, [line["val/accuracy"] for line in val], color=BLUE)
    bounds = ([line[f"val/accuracy_{end}"] for line in val] for end in ("low", "high"))
    axis.fill_between(epochs, *bounds, color=BLUE, alpha=0.2, lw=0)
    axis.set(
        title="1,360 photos of 17 flowers, from nothing:\nvalidation accuracy, 95 % interval",
        xlabel="epoch",
        ylim=(0, 1),
    )
    axis.title.set_fontsize(11)
    axis.grid(alpha=0.3)


def draw_parity(axis, certificate: Path) -> None:
    claims = json.loads(certificate.read_text())["claims"]
    rows = [row["details"] for claim in claims for row in claim["rows"]]
    pairs = [(row["torch_max"], row["jax_max"]) for row in rows if "jax_max" in row]
    theirs, ours = np.maximum(np.array(pairs), 1e-10).T
    axis.loglog(theirs, ours, ".", color=BLUE, ms=5, alpha=0.5)
    axis.plot([1e-10, 1e-1], [1e-10, 1e-1], color=GREY, lw=1)
    axis.set(
        title="the same as PyTorch:\ndistance from float64 of each result",
        xlabel="PyTorch",
        ylabel="JAX",
    )
    axis.title.set_fontsize(11)
    axis.grid(alpha=0.3)


def main(digits: Path, folder: Path, certificate: Path) -> None:
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=[5.2, 4, 3.6])
    draw_digits(left, digits)
    draw_accuracy(middle.subplots(), folder)
    draw_parity(right.subplots(), certificate)
    figure.savefig(Path(__file__).with_name("front.png"), dpi=100)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
