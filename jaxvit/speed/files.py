"""python -m jaxvit.speed.files DIR: the whole pipeline, from the files of Oxford-IIIT Pet.

Decoding, against torchvision's DataLoader with a process a core; augmentation, against the lab's
code for each sample; and training from the cache, against training on batches that are held in
memory. Each framework runs in processes of its own, by turns.
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
from jaxvit.speed.contest import TORCH, run_process, turns
from jaxvit.speed.options import check, make_parser
from jaxvit.speed.workload import Workload

SIDES = {"jax": "jaxvit.speed.pipeline", "torch": TORCH}


def parse(args: list[str]) -> argparse.Namespace:
    parser = make_parser("jaxvit.speed.files", __doc__, seconds=20)
    parser.add_argument("dir", type=Path, help="the directory that holds oxford-iiit-pet/")
    parser.add_argument("--img-size", "--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    options = parser.parse_args(args)
    check(options, [options.img_size], [options.batch_size])
    if not (options.dir / "oxford-iiit-pet").is_dir():
        raise UserError(f"{options.dir} has no oxford-iiit-pet in it: give the directory that has")
    return options


def compare(options: argparse.Namespace) -> dict:
    """Runs both sides by turns; medians over the processes, and every figure of each."""
    workload = Workload(options.model, options.img_size, options.batch_size)
    task = {
        "workload": asdict(workload),
        "dir": str(options.dir.resolve()),
        "seconds": options.seconds,
        "cutout_length": options.img_size // 3,
        "cores": cores(),
    }
    found: dict[str, list[dict]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as cache:
        for turn, side in turns(list(SIDES), options.processes):
            result = run_process(SIDES[side], task, Path(cache))
            if "failure" in result:
                raise UserError(f"{side} failed: {result['failure']}")
            found[side].append(result)
            print(
                f"{turn}/{options.processes} {side}: decodes {result['decoded_per_sec']:,.0f} "
                f"images/s, augments {result['augmented_per_sec']:,.0f}",
                flush=True,
            )

    def median(side: str, name: str) -> float:
        return float(np.median([result[name] for result in found[side]]))

    def step_ms(name: str) -> float:
        return float(np.median([ms for result in found["jax"] for ms in result["step_ms"][name]]))

    figures = {
        f"{what}_ratio": median("jax", f"{what}_per_sec") / median("torch", f"{what}_per_sec")
        for what in ("decoded", "augmented")
    }
    figures["read_over_held"] = step_ms("held") / step_ms("read")
    return {
        "workload": asdict(workload),
        "images": found["jax"][0]["images"],
        "machine": {"processor": processor(), "cores": cores()},
        "versions": found["jax"][0]["versions"] | found["torch"][0]["versions"],
        **figures,
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
        f"every figure: {path}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
