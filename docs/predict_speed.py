"""python docs/predict_speed.py WEIGHTS PHOTOS: classes of 2,000 photos, here and with timm.

WEIGHTS is a DeiT-Tiny in timm's layout, PHOTOS a folder of at least 2,000 images. Candidates are
whole commands that alternate: `python -m jaxvit predict`, and a loop of timm's model with timm's
preprocessing, fused attention and a DataLoader with a worker for each core, eager and compiled.
Each writes a line for each photo. Times are those of the processes, imports and compilation
included. Writes docs/predict_speed.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "predict_speed.json"
CANDIDATES = ("jaxvit", "timm", "timm-compile")
MODEL, BATCH, CORES, TURNS, PHOTOS = "deit_tiny_patch16_224", 64, os.cpu_count() or 1, 3, 2000


def with_timm(weights: str, folder: str, out: str, compiled: bool) -> None:
    import timm
    import torch
    from PIL import Image
    from safetensors.torch import load_file
    from torch.utils.data import DataLoader

    model = timm.create_model(MODEL)
    model.load_state_dict(load_file(weights))
    model.eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    paths = sorted(Path(folder).iterdir())

    class Photos(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, row: int) -> torch.Tensor:
            return transform(Image.open(paths[row]).convert("RGB"))

    called = torch.compile(model) if compiled else model
    rows = iter(paths)
    with torch.inference_mode(), open(out, "w") as lines:
        for images in DataLoader(Photos(), BATCH, num_workers=CORES):
            probabilities = called(images).softmax(dim=1)
            for found in zip(*probabilities.topk(5), strict=True):
                print(next(rows), *(each.tolist() for each in found), sep=",", file=lines)


def command(name: str, weights: str, folder: str, out: str) -> list[str]:
    if name == "jaxvit":
        return [sys.executable, "-m", "jaxvit", "predict", weights, folder, "--csv", out]
    return [sys.executable, __file__, weights, folder, "--one", name, out]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights")
    parser.add_argument("photos")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, out = options.one
        with_timm(options.weights, options.photos, out, name == "timm-compile")
        return
    seconds = {name: [] for name in CANDIDATES}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "photos"
        folder.mkdir()
        files = sorted(path for path in Path(options.photos).rglob("*") if path.is_file())
        for path in files[:PHOTOS]:
            (folder / path.name).symlink_to(path.resolve())
        environment = os.environ | {
            "PYTHONPATH": str(ROOT), "TORCHINDUCTOR_CACHE_DIR": f"{place}/inductor",
            "XDG_CACHE_HOME": f"{place}/cache",
        }  # fmt: skip
        weights = str(Path(options.weights).resolve())
        for turn in range(TURNS):
            for name in CANDIDATES[:: 1 if turn % 2 == 0 else -1]:
                out = Path(place) / f"{name}.csv"
                began = time.perf_counter()
                subprocess.run(
                    command(name, weights, str(folder), str(out)),
                    env=environment, cwd=ROOT, check=True, capture_output=True,
                )  # fmt: skip
                seconds[name].append(time.perf_counter() - began)
                lines = len(out.read_text().splitlines())
                if lines - (name == "jaxvit") != PHOTOS:  # a heading
                    sys.exit(f"{name} wrote {lines} lines")
                out.unlink()
                print(f"{name}: {seconds[name][-1]:.1f} s", flush=True)
    for name, found in seconds.items():
        print(
            f"{name}: {statistics.median(found):.1f} s ({min(found):.1f} to {max(found):.1f}), "
            f"{PHOTOS / statistics.median(found):.1f} images/s"
        )
    RESULTS.write_text(json.dumps({"photos": PHOTOS, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
