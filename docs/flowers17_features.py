"""Flowers-17 over five splits: features before and after instance discrimination, and fine-tuning.

For each seed of the split: the network before training, features of the preset flowers17-idmm, a
classifier fine-tuned from them with 10 labels a class and with all, the same network from random
weights for about the time of both, and a probe on published weights. Each is a run of train_jax.py;
--jobs of them train at a time, each with its share of the cores. What a run gave is kept in
--results, so the script resumes, and is drawn beside it; another machine or other --jobs need
another file, for their times do not compare.

    python docs/flowers17_features.py --data FLOWERS --dinov2 FILE --out DIR --jobs 2
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import matplotlib.figure
import matplotlib.ticker
import numpy as np

from jaxvit.runtime.machine import cores, processor
from jaxvit.studies.statistics import mean_interval

ROOT = Path(__file__).resolve().parent.parent
SIDE = ("--model.img-size", "96")
# Chosen on validation images of split 0.
MIXED = (
    "--augment.crop-scale", "0.4", "1", "--augment.mixup-alpha", "0.2",
    "--augment.cutmix-alpha", "1",
)  # fmt: skip
TUNED = (
    "finetune", *SIDE, *MIXED, "--epochs", "40", "--val-every-epochs", "10", "--optim.lr", "3e-4",
    "--optim.layer-decay", "1", "--optim.head-lr", "1",
)  # fmt: skip
# The features have seen all training images, unlabelled.
LABELS = {"few": ("--data.train-per-class", "10", "--epochs", "80"), "all": ()}
NOTHING = (
    "pets-small", *SIDE, "--batch-size", "32", "--model.patch-size", "16", "--model.embed-dim",
    "192", "--model.num-heads", "3", "--model.num-layers", "6",
)  # fmt: skip
METRICS = ("accuracy", "knn_accuracy", "linear_accuracy")
ROWS = (
    ("before, nearest neighbours", "before", "knn_accuracy"),
    ("before, linear probe", "before", "linear_accuracy"),
    ("after, nearest neighbours", "features", "knn_accuracy"),
    ("after, linear probe", "features", "linear_accuracy"),
    ("10 labels a class, fine-tuned", "tuned-few", "accuracy"),
    ("10 labels a class, from random weights, {epochs:,} epochs", "nothing-few", "accuracy"),
    ("all labels, fine-tuned", "tuned-all", "accuracy"),
    ("all labels, from random weights, {epochs:,} epochs", "nothing-all", "accuracy"),
    ("probe on DINOv2, all labels", "dinov2", "accuracy"),
)
GAINS = (
    ("10 labels a class: fine-tuned less from random weights, points", "tuned-few", "nothing-few"),
    ("all labels: fine-tuned less from random weights, points", "tuned-all", "nothing-all"),
)


def curve(out: Path, metric: str, seconds: float) -> list[tuple[float, float]]:
    """(seconds of training, value) of each validation."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    last = max(line["step"] for line in lines)
    return [
        (round(line["step"] / last * seconds, 1), line[metric]) for line in lines if metric in line
    ]


class Runs:
    """Runs of train_jax.py by split and name, and what they gave."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.file = Path(options.results)
        self.found = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.lock = Lock()
        made_on = {"processor": processor(), "cores": cores(), "jobs": options.jobs}
        if self.found.setdefault("made_on", made_on) != made_on:
            sys.exit(f"{self.file} was made on {self.found['made_on']}: give another --results")

    def directory(self, seed: int, name: str) -> Path:
        return Path(self.options.out) / f"split-{seed}" / name

    def train(
        self, seed: int, name: str, options: tuple[str, ...], weights: Path | str | None = None
    ) -> None:
        """Trains the run unless it is finished, and keeps its result unless that is kept.

        Features whose result is kept are trained again if something has to start from them.
        """
        key = f"split-{seed}/{name}"
        out = self.directory(seed, name)
        if key in self.found and self.found[key]["options"] != list(options):
            sys.exit(f"{self.file} has {key} with other options: give another --results")
        needed = name == "features" and any(
            f"split-{seed}/tuned-{labels}" not in self.found for labels in self.options.labels
        )
        if key in self.found and not needed:
            return
        if not (out / "summary.json").exists():
            self._run(seed, out, options, weights)
        if key not in self.found:
            self._keep(key, out, options)

    def _run(
        self, seed: int, out: Path, options: tuple[str, ...], weights: Path | str | None
    ) -> None:
        args = [*options, "--data.name", "flowers17", "--data.dir", self.options.data]
        args += ["--seed", str(seed), "--data.split-seed", str(seed), "--out", str(out)]
        if weights:
            args += ["--init.weights", str(weights)]
        if self.options.cache:
            args += ["--data.cache-dir", self.options.cache]
        print(*args, flush=True)
        threads = max(1, cores() // self.options.jobs)
        subprocess.run(
            [sys.executable, str(ROOT / "train_jax.py"), *args],
            env=os.environ | {"NPROC": str(threads)},
            stdout=sys.stdout if self.options.jobs == 1 else subprocess.DEVNULL,
            check=True,
        )

    def _keep(self, key: str, out: Path, options: tuple[str, ...]) -> None:
        summary = json.loads((out / "summary.json").read_text())
        # Without compilation and validation, and whether or not the run was resumed.
        seconds = summary["epochs"] * summary["images"]["train"] / summary["images_per_sec"]
        kept = {"options": list(options), "epochs": summary["epochs"]}
        kept["seconds_of_training"] = round(seconds, 1)
        for metric in METRICS:
            if f"test/{metric}" in summary:
                kept[f"test/{metric}"] = summary[f"test/{metric}"]
                kept[f"val/{metric}"] = curve(out, f"val/{metric}", seconds)
        with self.lock:
            self.found[key] = kept
            self.file.write_text(json.dumps(dict(sorted(self.found.items())), indent=1) + "\n")

    def kept_epochs(self, name: str) -> int | None:
        """Of this run on any split; None if none was kept."""
        kept = [run["epochs"] for key, run in self.found.items() if key.endswith(f"/{name}")]
        return kept[0] if kept else None

    def values(self, name: str, value: str) -> list[float]:
        return [self.found[f"split-{seed}/{name}"][value] for seed in self.options.seeds]


def from_features(runs: Runs, pool: ThreadPoolExecutor) -> None:
    """The features of each split, classifiers from them, and a probe."""
    seeds = runs.options.seeds

    def submit(name: str, options: tuple[str, ...], weights: str | None = None) -> list:
        return [pool.submit(runs.train, seed, name, options, weights) for seed in seeds]

    features = submit("features", ("flowers17-idmm",))
    others = submit("before", ("flowers17-idmm", "--epochs", "1", "--optim.lr", "1e-12"))
    others += submit("dinov2", ("probe",), runs.options.dinov2)
    for seed, each in zip(seeds, features, strict=True):
        each.result()
        start = runs.directory(seed, "features")
        others += [
            pool.submit(runs.train, seed, f"tuned-{name}", (*TUNED, *LABELS[name]), start)
            for name in runs.options.labels
        ]
    for each in others:
        each.result()


def from_nothing(runs: Runs, pool: ThreadPoolExecutor) -> None:
    """A run of the same network, images and augmentation, from random weights, for each split.

    It has as many epochs as take the time of both other runs at the speed of the fine-tuning; times
    are medians over the splits, so that all splits have as many. Splits that are added later have
    as many as those that were kept.
    """
    submitted = []
    for name in runs.options.labels:
        features, tuned = (
            statistics.median(runs.values(run, "seconds_of_training"))
            for run in ("features", f"tuned-{name}")
        )
        as_long = (features + tuned) / tuned * runs.values(f"tuned-{name}", "epochs")[0]
        epochs = runs.kept_epochs(f"nothing-{name}") or round(as_long)
        given = (*NOTHING, *MIXED, *LABELS[name], "--epochs", str(epochs))
        given += ("--val-every-epochs", str(epochs // 8))
        submitted += [
            pool.submit(runs.train, seed, f"nothing-{name}", given) for seed in runs.options.seeds
        ]
    for each in submitted:
        each.result()


def table(runs: Runs) -> str:
    """Of test images, in Markdown."""
    absent = tuple(f"-{name}" for name in LABELS if name not in runs.options.labels)
    lines = ["| | mean, 95 % interval | each split |", "|---|---|---|"]
    for title, name, metric in ROWS:
        if not name.endswith(absent):
            title = title.format(epochs=runs.kept_epochs(name))
            lines.append(row(title, runs.values(name, f"test/{metric}"), ".1%"))
    for title, name, other in GAINS:
        if not name.endswith(absent):
            pairs = (runs.values(run, "test/accuracy") for run in (name, other))
            gains = [100 * (a - b) for a, b in zip(*pairs, strict=True)]
            lines.append(row(title, gains, "+.1f"))
    return "\n".join(lines)


def row(title: str, values: list[float], form: str) -> str:
    """The mean of the values with its interval, and each."""
    mean, low, high, _ = mean_interval(values)
    each = ", ".join(format(value, form) for value in values)
    return f"| {title} | {mean:{form}} ({low:{form}} to {high:{form}}) | {each} |"


def draw(runs: Runs) -> None:
    """Accuracy on validation images against the seconds of training: means and 95 % intervals."""
    shown = runs.options.labels
    figure = matplotlib.figure.Figure(figsize=(1 + 4.5 * len(shown), 4.2), layout="constrained")
    axes = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    before = statistics.median(runs.values("features", "seconds_of_training"))
    titles = {"few": "10 labels of each class", "all": "all labels"}
    for axis, labels in zip(axes, shown, strict=True):
        for name, metric, offset, label in (
            ("features", "knn_accuracy", 0.0, "features, nearest neighbours (all labels)"),
            (f"tuned-{labels}", "accuracy", before, "fine-tuned from them"),
            (f"nothing-{labels}", "accuracy", 0.0, "from random weights"),
        ):
            curves = np.asarray(runs.values(name, f"val/{metric}"))  # (splits, validations, 2)
            seconds = offset + np.median(curves[..., 0], axis=0)
            mean, low, high, _ = np.transpose([mean_interval(each) for each in curves[..., 1].T])
            (line,) = axis.plot(seconds / 60, mean, marker="o", markersize=3, label=label)
            axis.fill_between(seconds / 60, low, high, color=line.get_color(), alpha=0.2)
        probe = statistics.mean(value[-1][1] for value in runs.values("dinov2", "val/accuracy"))
        axis.axhline(probe, color="grey", linestyle=":", label="probe on DINOv2 (all labels)")
        axis.set(title=titles[labels], xlabel="minutes of training", ylim=(0, 1.03))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy on 119 validation photos")
    axes[0].yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=0))
    axes[-1].legend(loc="lower right", fontsize=8)
    figure.savefig(runs.file.with_suffix(".png"), dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="the directory of Flowers-17, with jpg/")
    parser.add_argument("--dinov2", required=True, help="weights of DINOv2 ViT-S/14")
    parser.add_argument("--out", required=True, help="where the runs are kept")
    parser.add_argument("--cache", help="of decoded images")
    parser.add_argument("--jobs", type=int, default=1, help="runs that train at a time")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--labels", nargs="+", choices=LABELS, default=list(LABELS))
    parser.add_argument("--results", default=str(Path(__file__).with_suffix(".json")))
    runs = Runs(parser.parse_args())
    pool = ThreadPoolExecutor(runs.options.jobs)
    try:
        from_features(runs, pool)
        from_nothing(runs, pool)
    finally:
        pool.shutdown(cancel_futures=True)
    print(table(runs))
    draw(runs)


if __name__ == "__main__":
    main()
