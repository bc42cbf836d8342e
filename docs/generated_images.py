"""python docs/generated_images.py: the four studies of generated digits in one picture.

Reads docs/studies/generated-digits-*.csv, which `python -m jaxvit study generated-digits-5` (and
-10, -20, -all) write, and draws docs/generated_images.png.
"""

import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

DOCS = Path(__file__).resolve().parent
SIZES = ("5", "10", "20", "all")
LABELS = {
    "nothing": "no augmentation",
    "usual": "the usual augmentation",
    "+dcgan": "and images of a DCGAN",
    "+ddpm": "and images of DDPM",
    "+both": "and images of both",
}
COLOURS = ("#999999", "#222222", "#cc6677", "#4477aa", "#ccaa33")


def read(size: str) -> dict[str, dict[str, float]]:
    """The row of each configuration, as numbers."""
    with (DOCS / "studies" / f"generated-digits-{size}.csv").open() as file:
        return {
            row["configuration"]: {
                name: float(row[name]) for name in ("mean", "low", "high") if row[name]
            }
            for row in csv.DictReader(file)
        }


def main() -> None:
    rows = [read(size) for size in SIZES]
    figure, axis = plt.subplots(figsize=(7.5, 3.8), layout="constrained")
    for number, ((name, label), colour) in enumerate(zip(LABELS.items(), COLOURS, strict=True)):
        mean, low, high = (np.array([row[name][end] for row in rows]) for end in
                           ("mean", "low", "high"))  # fmt: skip
        places = np.arange(len(SIZES)) + 0.09 * (number - 2)
        spread = [mean - low, high - mean]
        axis.errorbar(places, mean, spread, fmt="o-", lw=1, ms=4, capsize=3, color=colour,
                      label=label)  # fmt: skip
    axis.set_xticks(range(len(SIZES)), [*SIZES[:-1], "all (about 122)"])
    axis.set(xlabel="digits of each class to train on", ylabel="test accuracy")
    axis.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=0))
    axis.grid(axis="y", alpha=0.3)
    axis.legend(frameon=False, loc="lower right")
    figure.savefig(DOCS / "generated_images.png", dpi=110)


if __name__ == "__main__":
    main()
