"""For the scripts beside it: candidates are measured in processes of their own, which alternate."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROCESSES = 3


def in_turn(script: str, candidates: Sequence[str], *arguments: str) -> dict[str, list[Any]]:
    """What PROCESSES processes of each candidate print in their last line, as JSON.

    Args:
      script: that each process runs.
      candidates: in the order of the first turn; every second turn goes backwards.
      arguments: of the script, before the candidate.
    """
    found: dict[str, list[Any]] = {name: [] for name in candidates}
    for turn in range(PROCESSES):
        for name in candidates[:: 1 if turn % 2 == 0 else -1]:
            said = subprocess.run(
                [sys.executable, script, *arguments, name],
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                check=True,
            )
            found[name].append(json.loads(said.stdout.splitlines()[-1]))
            print(*arguments, name, str(found[name][-1])[:200], flush=True)
    return found


def rate(step: Callable[[], object], images: int, seconds: float, warm: int = 3) -> float:
    """Images a second of steps that take so many seconds, after some that warm up."""
    for _ in range(warm):
        step()
    began = time.perf_counter()
    for number in count(1):
        step()
        spent = time.perf_counter() - began
        if spent > seconds:
            return number * images / spent
    raise AssertionError


def typical_rate(step: Callable[[], object], images: int, seconds: float, warm: int = 3) -> float:
    """Images a second of the median step of so many seconds, after some that warm up.

    A step whose temporaries come to lie in memory that was never touched takes several times as
    long on some machines. That ends once the heap has its size, and says nothing about long runs.
    """
    for _ in range(warm):
        step()
    took, began = [], time.perf_counter()
    while not took or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        step()
        took.append(time.perf_counter() - start)
    return images / statistics.median(took)


def middle(values: Sequence[float], form: str = ".1f") -> str:
    """The median and the range, as text."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"
