"""Freed memory that stays: counted in the pages that the kernel has to make."""

import os
import platform
import subprocess
import sys

import pytest

# A block of 256 MiB, taken, written and freed in a thread, as XLA does with its temporaries.
PROGRAM = """
import resource, sys, threading
from jaxvit.runtime.memory import keep_freed_memory
kept = sys.argv[1] == "keep" and keep_freed_memory()
import numpy as np

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def use():
    for _ in range(4):
        before = faults()
        np.ones(1 << 25)
        made.append(faults() - before)

made = []
thread = threading.Thread(target=use)
thread.start()
thread.join()
print(int(kept), made[-1])
"""


def pages_made(*args: str, **environment: str) -> tuple[bool, int]:
    """Whether memory was kept, and the pages made for the fourth block."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *args],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    kept, made = map(int, done.stdout.split())
    return bool(kept), made


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator is what is asked")
def test_a_block_that_was_freed_is_used_again_without_new_pages():
    kept, made = pages_made("keep", JAX_PLATFORMS="cpu")
    assert kept
    assert made < pages_made("leave")[1] / 10


def test_nothing_is_asked_where_there_may_be_an_accelerator():
    assert not pages_made("keep", JAX_PLATFORMS="cuda,cpu")[0]
