"""python docs/fine_tuning_speed.py: fine-tuning DeiT-Tiny from files, jaxvit's and PyTorch's loop.

Each candidate runs in a process of its own, one after the other, with one recipe: that of the
preset finetune (AdamW with rates by layer, warm-up, cosine, clipping, smoothing, crops, flips,
batches of 32, five epochs), on Oxford-IIIT Pet at 224 pixels, validated after each epoch. It is
stopped once validation reaches the target. Times count from the start of the process: imports,
decoding and compilation are in them. Writes docs/fine_tuning_speed.json.

PyTorch's loop is a good one: timm's model with its fused attention, fused AdamW, a DataLoader with
a worker for each core that stays alive between epochs, and torch.compile where the name says so.
"""

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "fine_tuning_speed.json"
CANDIDATES = ("jaxvit", "torch", "torch-compile")
MODEL = "deit_tiny_patch16_224"
SIZE, BATCH, EPOCHS, CORES = 224, 32, 5, os.cpu_count() or 1


def torch_loop(data: str, weights: str, compiled: bool) -> None:
    """Prints a line of JSON every ten steps and after each validation."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets.vision import StandardTransform

    from torch_ref.datasets import IMAGENET_MEAN, IMAGENET_STD, get_datasets
    from torch_ref.finetune import models, training
    from torch_ref.finetune.groups import param_groups

    torch.manual_seed(0)
    normalize = [transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    augment = transforms.Compose(
        [transforms.RandomResizedCrop(SIZE, (0.25, 1.0)), transforms.RandomHorizontalFlip()]
        + normalize
    )
    train, val, _, names = get_datasets("pets", data, img_size=SIZE)
    train.dataset = copy.copy(train.dataset)  # which it shared with val: this one is augmented
    train.dataset.transforms = StandardTransform(augment)
    common = {"batch_size": BATCH, "num_workers": CORES, "persistent_workers": True}
    train = DataLoader(train, shuffle=True, drop_last=True, **common)
    val = DataLoader(val, **common)
    model = models.load_timm(MODEL, weights, len(names))
    groups = param_groups(model, 2e-4, 0.05, 0.75, 10.0, decay="matrices")
    optimizer = torch.optim.AdamW(groups, lr=2e-4, fused=True)
    total = EPOCHS * len(train)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: training.rate_factor(step, total, "cosine", round(0.1 * total))
    )
    step_model = torch.compile(model) if compiled else model
    for epoch in range(1, EPOCHS + 1):
        model.train()
        began = time.perf_counter()
        for number, (images, labels) in enumerate(train, 1):
            training.train_step(step_model, optimizer, images, labels, 0.1, 1.0)
            scheduler.step()
            if number % 10 == 0:
                sec, began = time.perf_counter() - began, time.perf_counter()
                print(json.dumps({"images_per_sec": 10 * BATCH / sec}), flush=True)
        accuracy, _ = training.score(model, val)
        print(json.dumps({"epoch": epoch, "val/accuracy": accuracy}), flush=True)


def command(name: str, options: argparse.Namespace, place: str) -> list[str]:
    if name == "jaxvit":
        return [
            sys.executable, "train_jax.py", "finetune", "--data.name", "oxford_iiit_pet",
            "--data.dir", str(options.data), "--init.weights", str(options.weights), "--out",
            str(options.keep or f"{place}/run"), "--data.cache-dir", f"{place}/cache",
            "--val-every-epochs", "1", "--checkpoint.keep-best", "3", "--seed", str(options.seed),
            "--epochs", str(EPOCHS), "--batch-size", str(BATCH), "--model.img-size", str(SIZE),
        ]  # fmt: skip
    return [
        sys.executable, __file__, "--data", str(options.data), "--weights", str(options.weights),
        "--loop", name,
    ]  # fmt: skip


def run(name: str, options: argparse.Namespace) -> dict:
    """Runs one candidate until its validation reaches the target, or to its end."""
    rates, validations = [], []
    with tempfile.TemporaryDirectory() as place:
        began = time.perf_counter()
        output = Path(place) / "output"
        keep = options.keep if name == "jaxvit" else None
        lines = (keep or Path(place) / "run") / "metrics.jsonl" if name == "jaxvit" else output
        environment = os.environ | {
            "PYTHONPATH": str(ROOT), "TORCHINDUCTOR_CACHE_DIR": f"{place}/inductor",
        }  # fmt: skip
        with output.open("w") as said:
            process = subprocess.Popen(
                command(name, options, place), cwd=ROOT, env=environment, stdout=said, stderr=said
            )
            seen, reached = 0, False
            while keep or not reached:
                ended = process.poll() is not None
                found = lines.read_text().splitlines() if lines.exists() else []
                for line in found[seen:]:
                    seen += 1
                    if not line.startswith("{"):
                        continue
                    values = json.loads(line)
                    if "images_per_sec" in values:
                        rates.append(values["images_per_sec"])
                    if "val/accuracy" in values:
                        sec, accuracy = time.perf_counter() - began, values["val/accuracy"]
                        validations.append({"sec": sec, "accuracy": accuracy})
                        print(f"{name}: {accuracy:.2%} after {sec:.0f} s", flush=True)
                        reached = reached or accuracy >= options.target
                if ended:
                    break
                time.sleep(0.5)
            process.terminate()
            process.wait()
        if not validations:
            sys.exit(output.read_text()[-2000:])
    low, median, high = np.percentile(rates[1:], [25, 50, 75])
    print(f"{name}: {median:.1f} images/s (quartiles {low:.1f} to {high:.1f})", flush=True)
    return {
        "candidate": name, "images_per_sec": median, "quartiles": [low, high],
        "validations": validations, "target": options.target, "reached": reached,
        "seconds": time.perf_counter() - began,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="holds oxford-iiit-pet/")
    parser.add_argument("--weights", type=Path, required=True, help=f"{MODEL}.safetensors")
    parser.add_argument("--candidates", nargs="*", choices=CANDIDATES, default=CANDIDATES)
    parser.add_argument("--target", type=float, default=0.87, help="accuracy on validation")
    parser.add_argument("--keep", type=Path, help="jaxvit's run goes on to its end, in this place")
    parser.add_argument("--seed", type=int, default=0, help="of jaxvit's run")
    parser.add_argument("--loop", choices=CANDIDATES[1:], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop:
        torch_loop(str(options.data), str(options.weights), options.loop == "torch-compile")
        return
    results = [run(name, options) for name in options.candidates]
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
