"""python -m parity_tests.mutate [--only NAME ...] [--changed COMMIT]: would the tests notice?

Runs the test that is said to see a mutation against it, in a process of its own, and where that
passes, the whole quick tier. Exits with 1 if a mutation was not seen.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from parity_tests.mutation import Mutation, install
from parity_tests.mutations import EQUIVALENT, MUTATIONS

ROOT = Path(__file__).resolve().parent.parent
PYTEST = ["-x", "-q", "--no-header", "-p", "no:cacheprovider"]
TIMEOUT_SEC = 1200
QUICK_TIER = ["parity_tests", "tests", "-m", "not slow"]


class Outcome(NamedTuple):
    """Of one mutation.

    Attributes:
      test: the first that failed under it, or None.
      first: whether that was the test that is said to see it.
      seconds: that it took.
    """

    test: str | None
    first: bool
    seconds: float


def run_with(name: str, tests: list[str]) -> int:
    """In this process: the mutation, then pytest."""
    import pytest

    if name:
        install(next(mutation for mutation in MUTATIONS if mutation.name == name))
    return pytest.main([*PYTEST, *tests])


def failing_test(name: str, tests: list[str]) -> str | None:
    """The first of these tests that fails under the mutation, or None."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "parity_tests.mutate", "--run", name, "--tests", *tests],
            cwd=ROOT,
            env=os.environ | {"JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu")},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SEC,
        )
    except subprocess.TimeoutExpired:
        return f"{tests[0]} (more than {TIMEOUT_SEC} s)"
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if failed:
        return failed.group(1)
    # 0: all passed. A mutation may also end the process, or make collection fail.
    if done.returncode == 0:
        return None
    if done.returncode in (1, 2, 3) or done.returncode == -signal.SIGABRT:
        return f"{tests[0]} (exit code {done.returncode})"
    raise RuntimeError(f"{name}: pytest did not run\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def try_out(mutation: Mutation) -> Outcome:
    began = time.perf_counter()
    test, first = failing_test(mutation.name, [mutation.seen_by]), True
    if test is None:
        # Seen only by a test that passes without it.
        test, first = failing_test(mutation.name, QUICK_TIER), False
        if test and failing_test("", [test.partition(" ")[0]]):
            test = None
    return Outcome(test, first, time.perf_counter() - began)


def changed_modules(commit: str) -> set[str]:
    """Names of the modules whose files differ from those of a commit."""
    files = subprocess.run(
        ["git", "diff", "--name-only", commit, "--", "*.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    files += subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard", "--", "*.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    return {file.removesuffix(".py").replace("/", ".") for file in files}


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m parity_tests.mutate", description=__doc__.splitlines()[0]
    )
    names = [mutation.name for mutation in MUTATIONS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", default=names)
    parser.add_argument("--changed", metavar="COMMIT", help="of modules that differ from it")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1) // 2 * 2))
    parser.add_argument("--out", type=Path, default=Path("runs/certificate"), metavar="DIR")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--tests", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(args)
    if options.run is not None:
        return run_with(options.run, options.tests)
    chosen = [mutation for mutation in MUTATIONS if mutation.name in options.only]
    if options.changed:
        modules = changed_modules(options.changed)
        chosen = [mutation for mutation in chosen if mutation.module in modules]
    console = Console(markup=False)
    if not chosen:
        console.print("no mutation was chosen")
        return 0
    console.print("without a mutation ...")
    tests = list(dict.fromkeys(mutation.seen_by for mutation in chosen))
    if failed := failing_test("", tests):
        console.print(f"a test fails as it is ({failed}): correct that first", style="red")
        return 1
    found = {}
    with (
        Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
            TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        ) as bar,
        ThreadPoolExecutor(options.jobs) as pool,
    ):  # fmt: skip
        task = bar.add_task("mutations", total=len(chosen))
        for mutation, outcome in zip(chosen, pool.map(try_out, chosen), strict=True):
            found[mutation.name] = outcome
            bar.advance(task)
            seen = outcome.test or "NOT SEEN"
            other = "" if outcome.first else f" (not by {mutation.seen_by})"
            console.print(
                f"{outcome.seconds:4.0f} s  {mutation.name}: {seen}{other}",
                highlight=False,
                soft_wrap=True,
            )
    return report(console, chosen, found, options.out)


def report(
    console: Console, mutations: list[Mutation], found: dict[str, Outcome], out: Path
) -> int:
    table = Table(title="Mutations, and the test that saw each first")
    for column in ("mutation", "in", "seen by"):
        table.add_column(column)
    for mutation in mutations:
        test = found[mutation.name].test
        place = mutation.module.removeprefix("jaxvit.")
        table.add_row(mutation.name, place, test.split("/")[-1] if test else "NOTHING")
    console.print(table)
    for name, reason in EQUIVALENT.items():
        console.print(f"no mutation: {name}: {reason}", highlight=False)
    out.mkdir(parents=True, exist_ok=True)
    written = {name: outcome._asdict() for name, outcome in found.items()}
    (out / "mutations.json").write_text(json.dumps(written, indent=1) + "\n")
    unseen = [name for name, outcome in found.items() if outcome.test is None]
    console.print(f"{len(found) - len(unseen)} of {len(found)} seen")
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main())
