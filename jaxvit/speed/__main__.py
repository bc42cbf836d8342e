"""python -m jaxvit.speed: a fair benchmark of JAX against PyTorch, on this machine.

All candidates compute the same model on the same random images from the same weights. Each runs in
separate processes, which alternate with those of the other candidates. Compilation is timed
separately, and each timed block of steps ends with a fence. If the first losses differ, nothing is
compared.
"""

import argparse
import itertools
import sys
import tempfile
from pathlib import Path

from jaxvit.errors import UserError
from jaxvit.speed.benchmark import CANDIDATES, DEFAULT, check_equal_losses, run
from jaxvit.speed.options import make_parser, parse_checked
from jaxvit.speed.report import print_table, summarise, write
from jaxvit.speed.workload import Workload

# Largest relative difference of first losses that rounding explains; the loss is near log K.
LOSS_TOLERANCE = {"float32": 1e-3, "bfloat16": 2e-2}


def parse(args: list[str]) -> argparse.Namespace:
    parser = make_parser("jaxvit.speed", __doc__, seconds=10, sweep=True)
    parser.add_argument("--task", choices=("train", "infer"), default="train")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--no-tf32", action="store_true", help="exact float32 matmuls on GPUs")
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES, default=list(DEFAULT))
    options = parse_checked(parser, args)
    if not 0 <= options.dropout < 1:
        raise UserError(f"--dropout {options.dropout} is out of range: it must lie in [0, 1)")
    return options


def main(args: list[str]) -> int:
    try:
        options = parse(args)
        found = []
        sizes = itertools.product(options.batch_size, options.img_size)
        for batch_size, img_size in dict.fromkeys(sizes):
            workload = Workload(
                model=options.model,
                img_size=img_size,
                batch_size=batch_size,
                task=options.task,
                dtype=options.dtype,
                dropout=options.dropout,
                tf32=not options.no_tf32,
            )
            with tempfile.TemporaryDirectory() as cache:
                results = run(
                    workload, options.candidates, options.processes, options.seconds,
                    Path(cache), lambda line: print(line, flush=True),
                )  # fmt: skip
            check_equal_losses(results, LOSS_TOLERANCE[options.dtype])
            found.append(summarise(workload, results))
            print_table(found[-1])
            write(options.out, found)  # after each workload, so that a later failure loses nothing
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    none_ran = [all("failure" in entry for entry in each["candidates"].values()) for each in found]
    return 1 if any(none_ran) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
