"""Freed memory stays in the process: measured by the page faults of the next allocation."""

import os
import platform
import subprocess
import sys

import pytest

import train_jax
from jaxvit import __main__ as program
from jaxvit.errors import UserError
from jaxvit.presets import PRESETS

# Allocates, writes and frees 256 MiB four times, as XLA does with its temporaries, in each of three
# threads that live at a time; first of all it may begin as a program does.
PROGRAM = """
import resource, sys, threading, time
from jaxvit.runtime.memory import keep_freed_memory
from jaxvit.runtime.interrupt import watch_for_signals
from jaxvit.runtime.startup import begin
if "begin" in sys.argv:
    begin()
    time.sleep(0.1)  # a thread would have its heap by then, as it has after a program's imports
kept = sys.argv[1] == "keep" and keep_freed_memory()
watch_for_signals()
import numpy as np

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def use():
    with turn:
        for _ in range(4):
            before = faults()
            np.ones(1 << 25)
            made.append(faults() - before)
    ended.wait()

made, turn, ended = [], threading.Lock(), threading.Barrier(3)
threads = [threading.Thread(target=use) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(int(kept), max(made[3::4]))
"""


def pages_made(*args: str, **environment: str) -> tuple[bool, int]:
    """Whether freed memory is kept, and the most page faults of the fourth block of a thread."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *args],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    kept, made = map(int, done.stdout.split())
    return bool(kept), made


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's allocator")
@pytest.mark.parametrize("more", [(), ("begin",)])
def test_a_freed_block_is_reused_with_a_tenth_of_the_page_faults(more):
    """In each thread, also where a program has begun with its handlers of signals."""
    kept, made = pages_made("keep", *more, JAX_PLATFORMS="cpu")
    assert kept
    assert made < pages_made("leave")[1] / 10


def test_memory_is_not_kept_where_jax_may_use_an_accelerator():
    assert not pages_made("keep", JAX_PLATFORMS="cuda,cpu")[0]


def test_commands_with_large_batches_keep_freed_memory(monkeypatch):
    called = []
    monkeypatch.setattr(program, "keep_freed_memory", lambda: called.append("keep"))
    monkeypatch.setattr(program, "watch_for_signals", lambda: called.append("watch"))
    monkeypatch.setattr(program, "main", lambda args, kept: len(args))
    for name in ("predict", "evaluate", "explain", "quality"):
        assert program.program([name, "x"]) == 2
    assert called == 4 * ["keep", "watch"]
    called.clear()
    for args in ([], ["sample"], ["--help", "predict"]):
        assert program.program(args) == len(args)
    assert called == 3 * ["watch"]


@pytest.mark.parametrize("name", ["probe", "finetune", "pets-lab"])
def test_presets_with_large_steps_keep_freed_memory(name):
    assert PRESETS[name].keep_memory


@pytest.mark.parametrize(
    ("args", "wanted"), [([], ["watch"]), (["--keep-memory"], ["keep", "watch"])]
)
def test_a_run_keeps_freed_memory_where_it_is_asked_to(args, wanted, monkeypatch):
    """Before the thread that waits for signals starts, which would have a heap of its own."""
    called = []

    def stop(*args, **options):
        raise UserError("far enough")

    monkeypatch.setattr(train_jax, "keep_freed_memory", lambda: called.append("keep"))
    monkeypatch.setattr(train_jax, "watch_for_signals", lambda: called.append("watch"))
    monkeypatch.setattr(train_jax, "connect", stop)
    assert train_jax.main(args) == 2
    assert called == wanted


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's allocator")
@pytest.mark.parametrize("module", ["train_jax", "jaxvit.__main__"])
def test_a_program_that_was_imported_has_one_heap(module):
    """No import may start a thread that allocates: XLA's threads would share its heap."""
    script = f"""
from jaxvit.runtime.startup import begin
begin()
import ctypes, tempfile, {module}
from jaxvit.command_line import parse
parse(["digits"])
libc, place = ctypes.CDLL(None), tempfile.mktemp()
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(place.encode(), b"w"))
libc.malloc_info(0, file), libc.fclose(file)
print(open(place).read().count("<heap nr"))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1"]
