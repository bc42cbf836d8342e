"""Flowers-17 over five splits: features before and after instance discrimination, and fine-tuning.

For each seed of the split: the network before training, features of the preset flowers17-idmm, a
classifier fine-tuned from them with 10 labels a class and with all, the same network from nothing
for the time of both, and a probe on published weights. Each is a run of train_jax.py; finished ones
are kept, so the script resumes.

    python docs/flowers17_features.py --data FLOWERS --dinov2 FILE --out DIR
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIDE = ("--model.img-size", "96")
# Chosen on validation images of split 0.
MIXED = (
    "--augment.crop-scale", "0.4", "1", "--augment.mixup-alpha", "0.2",
    "--augment.cutmix-alpha", "1",
)  # fmt: skip
TUNED = (
    "finetune", *SIDE, *MIXED, "--epochs", "40", "--val-every-epochs", "10", "--optim.lr", "1e-3",
    "--optim.layer-decay", "1", "--optim.head-lr", "1",
)  # fmt: skip
# The features have seen all training images, unlabelled.
LABELS = {"few": ("--data.train-per-class", "10", "--epochs", "80"), "all": ()}
NOTHING = (
    "pets-small", *SIDE, "--batch-size", "32", "--model.patch-size", "16", "--model.embed-dim",
    "192", "--model.num-heads", "3", "--model.num-layers", "6",
)  # fmt: skip


def train(out: Path, words: tuple[str, ...], options: argparse.Namespace, seed: int) -> dict:
    """The summary of a run, which is trained unless it is finished."""
    summary = out / "summary.json"
    if not summary.exists():
        args = [*words, "--data.name", "flowers17", "--data.dir", options.data, "--seed", str(seed)]
        args += ["--data.split-seed", str(seed), "--out", str(out)]
        if options.cache:
            args += ["--data.cache-dir", options.cache]
        print(*args, flush=True)
        subprocess.run([sys.executable, str(ROOT / "train_jax.py"), *args], check=True)
    return json.loads(summary.read_text())


def measure(seed: int, options: argparse.Namespace) -> dict[str, dict]:
    """The summaries of one split, but for the networks from nothing."""
    out = Path(options.out) / f"split-{seed}"
    features = out / "features"
    found = {
        "before": train(
            out / "before",
            ("flowers17-idmm", "--epochs", "1", "--optim.lr", "1e-12"),
            options,
            seed,
        ),
        "features": train(features, ("flowers17-idmm",), options, seed),
    }
    probe = ("probe", "--init.weights", options.dinov2)
    found["dinov2"] = train(out / "dinov2", probe, options, seed)
    for name, more in LABELS.items():
        given = (*TUNED, *more, "--init.weights", str(features))
        found[f"tuned-{name}"] = train(out / f"tuned-{name}", given, options, seed)
    return found


def seconds_of_training(summary: dict) -> float:
    """Without compilation and validation, and whether or not the run was resumed."""
    return summary["epochs"] * summary["images"]["train"] / summary["images_per_sec"]


def from_nothing(found: dict[int, dict[str, dict]], options: argparse.Namespace) -> None:
    """Adds a run of the same network, images and augmentation, from random weights, to each split.

    It has as many epochs as take the time of both other runs at the speed of the fine-tuning; times
    are medians over the splits, so that all splits have as many.
    """
    for name, more in LABELS.items():
        features, tuned = (
            statistics.median(seconds_of_training(runs[run]) for runs in found.values())
            for run in ("features", f"tuned-{name}")
        )
        tuned_epochs = next(iter(found.values()))[f"tuned-{name}"]["epochs"]
        epochs = round((features + tuned) / tuned * tuned_epochs)
        for seed, runs in found.items():
            given = (
                *NOTHING, *more, "--epochs", str(epochs), "--val-every-epochs", str(epochs // 8),
            )  # fmt: skip
            out = Path(options.out) / f"split-{seed}" / f"nothing-{name}"
            runs[f"nothing-{name}"] = train(out, given, options, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="the directory of Flowers-17, with jpg/")
    parser.add_argument("--dinov2", required=True, help="weights of DINOv2 ViT-S/14")
    parser.add_argument("--out", required=True, help="where the runs are kept")
    parser.add_argument("--cache", help="of decoded images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    found = {seed: measure(seed, options) for seed in options.seeds}
    from_nothing(found, options)
    rows = {
        "before, nearest neighbours": ("before", "knn_accuracy"),
        "before, linear probe": ("before", "linear_accuracy"),
        "after, nearest neighbours": ("features", "knn_accuracy"),
        "after, linear probe": ("features", "linear_accuracy"),
        "10 labels a class, fine-tuned": ("tuned-few", "accuracy"),
        "10 labels a class, from nothing for the time of both": ("nothing-few", "accuracy"),
        "all labels, fine-tuned": ("tuned-all", "accuracy"),
        "all labels, from nothing for the time of both": ("nothing-all", "accuracy"),
        "probe on DINOv2": ("dinov2", "accuracy"),
    }
    table = {
        title: [found[seed][run][f"test/{metric}"] for seed in found]
        for title, (run, metric) in rows.items()
    }
    seconds = {
        run: [round(seconds_of_training(runs[run])) for runs in found.values()]
        for run in next(iter(found.values()))
    }
    path = Path(options.out) / "flowers17_features.json"
    path.write_text(json.dumps({"test": table, "seconds_of_training": seconds}, indent=1) + "\n")
    for title, values in table.items():
        print(f"{title:52} {' '.join(f'{value:.1%}' for value in values)}")


if __name__ == "__main__":
    main()
