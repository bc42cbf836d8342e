"""Gaps in glibc's heap are filled after compiling."""

import contextlib
import json
import os
import platform
import runpy
import subprocess
import sys
import warnings
from collections.abc import Callable

import jax
import pytest
from jax import monitoring

import train_jax
from jaxvit import __main__ as program
from jaxvit.errors import UserError
from jaxvit.runtime import gaps, memory
from jaxvit.runtime.memory import keep_freed_memory

on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's allocator")


def in_a_child(function: Callable[[], list[int]]) -> list[int]:
    """What a function returns in a child of this process, whose heap is its own."""
    reads, writes = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX's, of its threads: the child does not use them
        child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.write(writes, json.dumps(function()).encode())
        os._exit(0)
    os.close(writes)
    with open(reads) as stream:
        found = json.load(stream)
    os.waitpid(child, 0)
    return found


def count_gaps() -> int:
    return sum(count for size, count in gaps._gaps() if size <= gaps.LARGEST)


@on_glibc
def test_free_blocks_between_blocks_in_use_are_taken():
    """Each second of 6,000 blocks; one of 64 MiB is too large, and is given out again, whole."""

    def fragment() -> list[int]:
        assert keep_freed_memory()  # so that large blocks are in the heap
        gaps.fill_gaps()
        libc = gaps._libc()
        large, _ = libc.malloc(64 << 20), libc.malloc(64 << 20)  # larger than all that is free
        blocks = [libc.malloc(100 + 8 * i) for i in range(6000)]
        for block in [large, *blocks[::2]]:
            libc.free(block)
        found = [count_gaps(), gaps.fill_gaps(), count_gaps(), gaps.fill_gaps()]
        return [*found, libc.malloc(64 << 20) == large]

    before, taken, after, again, whole = in_a_child(fragment)
    freed = sum(100 + 8 * i for i in range(0, 6000, 2))
    assert before > 2800
    assert after <= gaps.FEW
    assert freed * 0.98 < taken < freed * 1.1  # others were free before, and few small ones stay
    assert (again, whole) == (0, True)


@on_glibc
def test_few_gaps_are_left_as_they_are():
    def fill() -> list[int]:
        taken = gaps.fill_gaps()
        libc = gaps._libc()
        blocks = [libc.malloc(2000 + 16 * i) for i in range(400)]
        for block in blocks[::2]:
            libc.free(block)
        return [taken, count_gaps(), gaps.fill_gaps()]

    _, left, taken = in_a_child(fill)
    assert 100 < left < gaps.FEW
    assert taken == 0


COMPILE = """
from jaxvit.runtime import gaps
from jaxvit.runtime.memory import keep_freed_memory
assert keep_freed_memory()
import jax, jax.numpy as jnp
{before}
def compiled(width):
    def f(x):
        for i in range(20):
            x = jnp.sin(x @ x.T + i) * jnp.cumsum(x, i % 2) / width
            x = jnp.exp(-x) + jnp.roll(x, i, 0).T
        return x.sum()
    return jax.jit(jax.grad(f)).lower(jnp.ones((width, width))).compile()
first = compiled(20)  # a program that is deleted leaves gaps as well
print(sum(count for size, count in gaps._gaps() if size <= gaps.LARGEST))
second = compiled(24)
print(sum(count for size, count in gaps._gaps() if size <= gaps.LARGEST))
"""


@on_glibc
def test_gaps_are_filled_each_time_that_a_program_was_compiled():
    """In a process in which nothing comes from the cache of programs."""

    def gaps_left(before: str) -> list[int]:
        done = subprocess.run(
            [sys.executable, "-c", COMPILE.format(before=before)],
            env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false", "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            check=True,
        )
        return list(map(int, done.stdout.split()))

    assert min(gaps_left("")) > 3 * gaps.FEW
    assert max(gaps_left("gaps.fill_gaps_after_compiling()")) < 2 * gaps.FEW


def test_compiling_is_what_gaps_are_filled_after(monkeypatch):
    filled = []
    monkeypatch.setattr(gaps, "fill_gaps", lambda: filled.append(1))
    gaps.fill_gaps_after_compiling()
    try:
        jax.jit(lambda x: x + len(filled)).lower(1.0)
        assert not filled
        jax.jit(lambda x: x - len(filled)).lower(1.0).compile()
        assert filled == [1]
    finally:
        monitoring.unregister_event_duration_listener(gaps._after)


@pytest.fixture
def filled(monkeypatch):
    """The calls of fill_gaps_after_compiling."""
    calls = []
    for place in (gaps, train_jax):
        monkeypatch.setattr(place, "fill_gaps_after_compiling", lambda: calls.append("fill"))
    return calls


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("args", [[], ["--keep-memory"]])
def test_a_run_fills_gaps_where_memory_is_kept(args, kept, filled, monkeypatch):
    def stop(*args, **options):
        raise UserError("far enough")

    monkeypatch.setattr(train_jax, "keep_freed_memory", lambda: kept)
    monkeypatch.setattr(train_jax, "connect", stop)
    assert train_jax.main(args) == 2
    assert filled == (["fill"] if args and kept else [])


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("name", ["predict", "evaluate", "explain", "quality", "sample"])
def test_commands_fill_gaps_where_memory_is_kept(name, kept, filled, monkeypatch, capfd):
    monkeypatch.setattr(program, "keep_freed_memory", lambda: kept)
    assert program.program([name, "nowhere"]) == 2
    assert filled == (["fill"] if kept and name != "sample" else [])


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("module", ["jaxvit.speed.workload", "torch_ref.transformer"])
def test_candidates_in_jax_fill_gaps_where_memory_is_kept(module, kept, filled, monkeypatch):
    monkeypatch.setattr(memory, "keep_freed_memory", lambda: kept)
    monkeypatch.setattr(sys, "argv", ["process", module, "{}"])
    runpy.run_module("jaxvit.speed.process", run_name="__main__")
    assert filled == (["fill"] if kept and module.startswith("jaxvit.") else [])
