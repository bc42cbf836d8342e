"""python docs/photos_per_class.py: accuracy against photos of each class, for three presets.

Takes n training photos of each breed of Oxford-IIIT Pet, drawn with a seed, trains on them as a
user would (python train_jax.py PRESET --data.dir ...), and scores on the official test images.
Writes docs/photos_per_class.json, to which finished runs are added one by one, and the picture.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "photos_per_class.json"
ALL = 0  # photos of each class: all there are
PRESETS = {
    "probe": "probe: a head on frozen DINOv2 ViT-S/14",
    "finetune": "finetune: DeiT-Tiny/16, further trained",
    "folder": "folder: from nothing",
}


def read_list(data: Path, split: str) -> dict[str, list[Path]]:
    """Files of each breed, in the order of the annotations."""
    found: dict[str, list[Path]] = {}
    for line in (data / "annotations" / f"{split}.txt").read_text().splitlines():
        name = line.split()[0]
        found.setdefault(name.rpartition("_")[0], []).append(data / "images" / f"{name}.jpg")
    return found


def make_folder(data: Path, to: Path, photos: int, seed: int) -> int:
    """train/ and test/ of symbolic links; returns the number of training photos."""
    rng, count = np.random.default_rng(seed), 0
    for split, listed in (
        ("train", read_list(data, "trainval")),
        ("test", read_list(data, "test")),
    ):
        for breed, files in sorted(listed.items()):
            if split == "train" and photos != ALL:
                files = [files[i] for i in sorted(rng.permutation(len(files))[:photos])]
            (to / split / breed).mkdir(parents=True)
            for file in files:
                (to / split / breed / file.name).symlink_to(file.resolve())
            count += len(files) * (split == "train")
    return count


def run(preset: str, photos: int, seed: int, options: argparse.Namespace) -> dict:
    with tempfile.TemporaryDirectory() as place:
        count = make_folder(options.data, Path(place) / "images", photos, seed)
        weights = {"probe": options.probe_weights, "finetune": options.finetune_weights}
        more = ["--init.weights", str(weights[preset])] if preset in weights else []
        subprocess.run(
            [
                sys.executable, str(ROOT / "train_jax.py"), preset, "--data.dir", f"{place}/images",
                "--out", f"{place}/run", "--seed", str(seed), *more,
            ],
            check=True,
        )  # fmt: skip
        summary = json.loads((Path(place) / "run" / "summary.json").read_text())
    names = ("accuracy", "accuracy_low", "accuracy_high")
    return {
        "preset": preset, "photos": photos, "seed": seed, "images": count,
        **{name: summary[f"test/{name}"] for name in names}, "wall_sec": summary["wall_sec"],
    }  # fmt: skip


def draw(results: list[dict]) -> None:
    figure, axis = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    for preset, label in PRESETS.items():
        found = [each for each in results if each["preset"] == preset]
        photos = sorted({each["photos"] for each in found}, key=lambda n: n or 10**6)
        if not found:
            continue
        x = [np.mean([e["images"] for e in found if e["photos"] == n]) / 37 for n in photos]
        y = [np.mean([e["accuracy"] for e in found if e["photos"] == n]) for n in photos]
        low = [np.mean([e["accuracy_low"] for e in found if e["photos"] == n]) for n in photos]
        high = [np.mean([e["accuracy_high"] for e in found if e["photos"] == n]) for n in photos]
        (line,) = axis.plot(x, y, marker="o", label=label)
        axis.fill_between(x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axis.axhline(1 / 37, color="grey", linestyle=":", label="chance")
    axis.set(
        xscale="log",
        ylim=(0, 1),
        xlabel="photos of each class, to train and validate on (37 breeds of pets)",
        ylabel="accuracy on 370 test photos",
    )
    ticks = sorted({round(each["images"] / 37) for each in results})
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=0))
    axis.legend(loc="center right", frameon=False)
    axis.grid(alpha=0.3)
    figure.savefig(ROOT / "docs" / "photos_per_class.png", dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="oxford-iiit-pet/, in its original layout")
    parser.add_argument("--probe-weights", type=Path)
    parser.add_argument("--finetune-weights", type=Path)
    parser.add_argument("--presets", nargs="*", default=list(PRESETS))
    parser.add_argument("--photos", type=int, nargs="*", default=[5, 10, 20, ALL])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    done = {(each["preset"], each["photos"], each["seed"]) for each in results}
    for seed in options.seeds:
        for preset in options.presets:
            for photos in options.photos:
                if (preset, photos, seed) not in done:
                    results.append(run(preset, photos, seed, options))
                    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    draw(results)


if __name__ == "__main__":
    main()
