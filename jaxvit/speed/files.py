"""python -m jaxvit.speed.files DIR: a benchmark of the input pipeline, on Oxford-IIIT Pet.

It measures decoding against torchvision's DataLoader with one worker per core, augmentation against
the lab's per-sample code, and training from the cache against training on batches held in memory.
The two frameworks alternate, each in separate processes.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from jaxvit.errors import UserError
from jaxvit.runtime.machine import cores, processor
from jaxvit.speed.benchmark import TORCH, alternate, run_process
from jaxvit.speed.options import make_parser, parse_checked
from jaxvit.speed.workload import Workload

FRAMEWORKS = {"jax": "jaxvit.speed.pipeline", "torch": TORCH}


def parse(args: list[str]) -> argparse.Namespace:
    parser = make_parser("jaxvit.speed.files", __doc__, seconds=20, sweep=False)
    parser.add_argument("dir", type=Path, help="the directory that holds oxford-iiit-pet/")
    options = parse_checked(parser, args)
    if not (options.dir / "oxford-iiit-pet").is_dir():
        raise UserError(f"{options.dir} has no oxford-iiit-pet in it: give the directory that has")
    return options


def compare(options: argparse.Namespace) -> dict:
    """Runs both frameworks alternating; ratios of medians, and all measurements."""
    workload = Workload(options.model, *options.img_size, *options.batch_size)
    task = {
        "workload": asdict(workload),
        "dir": str(options.dir.resolve()),
        "seconds": options.seconds,
        "cutout_length": workload.img_size // 3,
        "cores": cores(),
    }
    found: dict[str, list[dict]] = {name: [] for name in FRAMEWORKS}
    with tempfile.TemporaryDirectory() as cache:
        for number, name in alternate(list(FRAMEWORKS), options.processes):
            result = run_process(FRAMEWORKS[name], task, Path(cache))
            if "failure" in result:
                raise UserError(f"{name} failed: {result['failure']}")
            found[name].append(result)
            print(
                f"{number}/{options.processes} {name}: decodes {result['decoded_per_sec']:,.0f} "
                f"images/s, augments {result['augmented_per_sec']:,.0f}",
                flush=True,
            )

    def median(name: str, measurement: str) -> float:
        return float(np.median([result[measurement] for result in found[name]]))

    def step_ms(source: str) -> float:
        return float(np.median([ms for result in found["jax"] for ms in result["step_ms"][source]]))

    ratios = {
        f"{what}_ratio": median("jax", f"{what}_per_sec") / median("torch", f"{what}_per_sec")
        for what in ("decoded", "augmented")
    }
    ratios["read_over_held"] = step_ms("held") / step_ms("read")
    return {
        "workload": asdict(workload),
        "images": found["jax"][0]["images"],
        "machine": {"processor": processor(), "cores": cores()},
        "versions": found["jax"][0]["versions"] | found["torch"][0]["versions"],
        **ratios,
        "processes": found,
    }


def main(args: list[str]) -> int:
    try:
        options = parse(args)
        found = compare(options)
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / "files.json"
        path.write_text(json.dumps(found, indent=1) + "\n")
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(
        f"decoding {found['images']:,} images: {found['decoded_ratio']:.2f} times torchvision's "
        f"DataLoader\naugmentation: {found['augmented_ratio']:.1f} times the lab's\n"
        f"training from the cache: {found['read_over_held']:.1%} of the rate on held batches\n"
        f"all measurements: {path}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
