"""python -m parity_tests.mutate [--only NAME ...] [--jobs N]: would the suite notice?

Runs the quick tier of the parity suite against each mistake of parity_tests/mutations.py, in a
process of its own, and says which test saw it. Exits with 1 if one went unseen.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from parity_tests.mutations import EQUIVALENT, MUTATIONS, Mutation, install

ROOT = Path(__file__).resolve().parent.parent
QUICK_TIER = ["parity_tests", "-m", "not slow", "-x", "-q", "--no-header", "-p", "no:cacheprovider"]


def run_with(name: str, tests: list[str]) -> int:
    """In this process: the mistake, then pytest."""
    import pytest

    if name:
        install(next(mutation for mutation in MUTATIONS if mutation.name == name))
    return pytest.main([*QUICK_TIER, *tests])


def killer(name: str) -> tuple[str | None, float]:
    """The first test that fails under the mistake, or None; and the seconds it took."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "parity_tests.mutate", "--run", name],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu")},
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - began
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode not in (0, 1) or (done.returncode == 1 and failed is None):
        raise RuntimeError(
            f"{name}: pytest did not run\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return (failed.group(1) if failed else None), seconds


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m parity_tests.mutate", description=__doc__.splitlines()[0]
    )
    names = [mutation.name for mutation in MUTATIONS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", default=names)
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1) // 2 * 2))
    parser.add_argument("--out", type=Path, default=Path("runs/certificate"), metavar="DIR")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options, tests = parser.parse_known_args(args)
    if options.run is not None:
        return run_with(options.run, tests)
    if tests:
        parser.error(f"unknown: {' '.join(tests)}")
    console = Console(markup=False)
    console.print("without a mistake ...")
    failed, seconds = killer("")
    if failed:
        console.print(f"the suite fails as it is ({failed}): mend that first", style="red")
        return 1
    console.print(f"the quick tier passes in {seconds:.0f} s")
    killers = {}
    with (
        Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
            TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        ) as bar,
        ThreadPoolExecutor(options.jobs) as pool,
    ):  # fmt: skip
        task = bar.add_task("mistakes", total=len(options.only))
        for name, (test, seconds) in zip(options.only, pool.map(killer, options.only), strict=True):
            killers[name] = test
            bar.advance(task)
            console.print(
                f"{seconds:4.0f} s  {name}: {test or 'NOT SEEN'}", highlight=False, soft_wrap=True
            )
    return report(console, [m for m in MUTATIONS if m.name in killers], killers, options.out)


def report(
    console: Console, mutations: list[Mutation], killers: dict[str, str | None], out: Path
) -> int:
    table = Table(title="Mistakes, and the test that saw each first")
    for column in ("mistake", "in", "seen by"):
        table.add_column(column)
    for mutation in mutations:
        test = killers[mutation.name]
        place = mutation.module.removeprefix("jaxvit.")
        table.add_row(mutation.name, place, test.split("/")[-1] if test else "NOTHING")
    console.print(table)
    for name, reason in EQUIVALENT.items():
        console.print(f"no mistake: {name}: {reason}", highlight=False)
    out.mkdir(parents=True, exist_ok=True)
    (out / "mutations.json").write_text(json.dumps(killers, indent=1) + "\n")
    unseen = [name for name, test in killers.items() if test is None]
    console.print(f"{len(killers) - len(unseen)} of {len(killers)} seen")
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main())
