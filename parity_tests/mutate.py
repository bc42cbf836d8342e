"""python -m parity_tests.mutate [--only NAME ...] [--changed COMMIT] [--new]: would tests notice?

Runs against each mutation, in a process of its own, the test that saw it last, as
mutations_seen.json has it, then those that are said to see it, until one fails; after all others,
the whole quick tier against those that none of these saw. Exits with 1 if a mutation was not seen.
Processes are forked from one that has imported the libraries.
"""

import argparse
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from parity_tests.mutation import Mutation, install
from parity_tests.mutations import EQUIVALENT, MUTATIONS

ROOT = Path(__file__).resolve().parent.parent
SEEN = Path(__file__).with_name("mutations_seen.json")  # {mutation: the test that saw it last}
PYTEST = ["-x", "-q", "--no-header", "-p", "no:cacheprovider"]
TIMEOUT_SEC = 1200
QUICK_TIER = ["parity_tests", "tests", "-m", "not slow"]
# Imported before the fork; conftest.py comes first, since it sets the environment of jax. Nothing
# here may import jaxvit or torch_ref, or start XLA.
LIBRARIES = (
    "conftest", "torchvision.models", "torch.utils.data", "torchmetrics.classification",
    "lightning", "timm", "transformers", "pytorch_pretrained_vit", "safetensors.torch",
    "jax.numpy", "flax.linen", "flax.traverse_util", "optax", "orbax.checkpoint", "chex", "grain",
    "scipy.special", "sklearn.metrics", "sklearn.datasets", "matplotlib.figure", "PIL.Image",
    "tyro.conf", "tensorboardX", "rich.progress", "hypothesis", "beartype", "pytest",
)  # fmt: skip
FORKSERVER = multiprocessing.get_context("forkserver")


class Outcome(NamedTuple):
    """Of one mutation.

    Attributes:
      test: the first that failed under it, or None. A file that cannot be collected, tests that
        take too long, and pytest ending in another way are not a test that failed.
      first: whether that was the test that is said to see it.
      seconds: that it took.
    """

    test: str | None
    first: bool
    seconds: float


class NoVerdict(Exception):
    """Tests neither passed nor failed."""


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.killpg(0, signal.SIGKILL)


def run_with(name: str, tests: list[str], output: str) -> None:
    """In a process of its own: the mutation, then pytest, whose exit code it ends with."""
    os.setpgrp()  # so that subprocesses of the tests can be ended with it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with open(output, "w", buffering=1) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    import pytest

    if name:
        install(next(mutation for mutation in MUTATIONS if mutation.name == name))
    code = pytest.main([*PYTEST, *tests])
    sys.stdout.flush()
    os._exit(code)  # threads of XLA and TensorFlow are not waited for


def failing_test(name: str, tests: list[str], log: Path | None = None) -> str | None:
    """The first of these tests that fails under the mutation, or None.

    Args:
      name: of the mutation; "" for none.
      tests: files or ids.
      log: where what pytest says is kept.

    Raises:
      NoVerdict: they took too long, or see first_failure.
    """
    with tempfile.NamedTemporaryFile("r") as output:
        process = FORKSERVER.Process(target=run_with, args=(name, tests, output.name))
        process.start()
        process.join(TIMEOUT_SEC)
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
            raise NoVerdict(f"{tests[0]}: more than {TIMEOUT_SEC} s")
        code, said = process.exitcode, output.read()
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(said)
    return first_failure(code, said, tests)


def first_failure(code: int, said: str, tests: list[str]) -> str | None:
    """The test that failed, or None where all passed.

    Args:
      code: that pytest ended with.
      said: what it printed.
      tests: that it was given.

    Raises:
      NoVerdict: no test failed, and not all passed: a file could not be collected, or pytest ended
        before its end.
    """
    failed = re.search(r"^(?:FAILED|ERROR) (\S+::.+?)(?: - .*)?$", said, re.MULTILINE)
    if failed:
        return failed.group(1)
    if code == 0:
        return None
    if code == -signal.SIGABRT:  # how XLA ends a program that it cannot continue
        return f"{tests[0]} (exit code {code})"
    raise NoVerdict(f"{tests[0]}: exit code {code}\n{said[-2000:]}")


def name_of(test: str) -> str:
    """Of a test, without the exit code that first_failure may add; parameters may have spaces."""
    return re.sub(r" \(exit code .*\)$", "", test)


def judged(name: str, tests: list[str]) -> str | None:
    """failing_test, where no verdict is said, and is none that the mutation was seen."""
    try:
        return failing_test(name, tests)
    except NoVerdict as error:
        print(f"no verdict on {name}: {error}", file=sys.stderr, flush=True)
        return None


def try_out(mutation: Mutation, seen_before: str | None) -> Outcome:
    """With the tests that are said to see it."""
    began = time.perf_counter()
    test = judged(mutation.name, [seen_before]) if seen_before else None
    test = test or judged(mutation.name, [mutation.seen_by])
    return Outcome(test, True, time.perf_counter() - began)


def try_all(mutation: Mutation) -> Outcome:
    """With the whole quick tier; it is seen by a test only if that passes without it."""
    began = time.perf_counter()
    test = judged(mutation.name, QUICK_TIER)
    if test and judged("", [name_of(test)]):
        test = None
    return Outcome(test, False, time.perf_counter() - began)


def seen_before() -> dict[str, str]:
    """Of each mutation that was seen by a test that still exists, that test."""

    def exists(test: str) -> bool:
        file, _, function = test.partition("::")
        path = ROOT / file
        return path.is_file() and f"def {function.partition('[')[0]}(" in path.read_text()

    found = json.loads(SEEN.read_text()) if SEEN.exists() else {}
    return {name: test for name, test in found.items() if exists(test)}


def remember(mutation: Mutation, outcome: Outcome) -> None:
    """Writes the test that saw it, so that a run that is stopped has lost nothing."""
    if outcome.test is None:
        return
    names = {mutation.name for mutation in MUTATIONS}
    seen = {name: test for name, test in seen_before().items() if name in names}
    seen[mutation.name] = name_of(outcome.test)
    whole = SEEN.with_suffix(".tmp")
    whole.write_text(json.dumps(seen, indent=1, sort_keys=True) + "\n")
    whole.replace(SEEN)


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
    parser.add_argument("--new", action="store_true", help="that no test is known to have seen")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1) // 2 * 2))
    parser.add_argument("--out", type=Path, default=Path("runs/certificate"), metavar="DIR")
    options = parser.parse_args(args)
    chosen = [mutation for mutation in MUTATIONS if mutation.name in options.only]
    if options.changed:
        modules = changed_modules(options.changed)
        chosen = [mutation for mutation in chosen if mutation.module in modules]
    before = seen_before()
    if options.new:
        chosen = [mutation for mutation in chosen if mutation.name not in before]
    console = Console(markup=False)
    if not chosen:
        console.print("no mutation was chosen")
        return 0
    os.chdir(ROOT)
    FORKSERVER.set_forkserver_preload(list(LIBRARIES))
    console.print("without a mutation ...")
    tests = list(dict.fromkeys(before.get(mutation.name, mutation.seen_by) for mutation in chosen))
    log = options.out / "without_a_mutation.log"
    try:
        failed = failing_test("", tests, log)
    except NoVerdict as error:
        failed = str(error).partition("\n")[0]
    if failed:
        say = f"a test fails as it is ({failed}; see {log}): correct that first"
        console.print(say, style="red", soft_wrap=True)
        return 1
    found = {}
    tests_before = [before.get(mutation.name) for mutation in chosen]
    with (
        Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
            TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        ) as bar,
        ThreadPoolExecutor(options.jobs) as pool,
    ):  # fmt: skip
        task = bar.add_task("mutations", total=len(chosen))

        def collect(mutations: list[Mutation], outcomes: Iterable[Outcome]) -> None:
            for mutation, outcome in zip(mutations, outcomes, strict=True):
                found[mutation.name] = outcome
                remember(mutation, outcome)
                bar.advance(task)
                seen = outcome.test or f"NOT SEEN by {mutation.seen_by}"
                console.print(
                    f"{outcome.seconds:4.0f} s  {mutation.name}: {seen}",
                    highlight=False,
                    soft_wrap=True,
                )

        collect(chosen, pool.map(try_out, chosen, tests_before))
        unseen = [mutation for mutation in chosen if found[mutation.name].test is None]
        bar.update(task, total=len(chosen) + len(unseen))
        collect(unseen, pool.map(try_all, unseen))
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
