"""Gaps in glibc's heap are filled after compiling, in processes of their own."""

import os
import platform
import runpy
import subprocess
import sys

import pytest

import train_jax
from jaxvit import __main__ as program
from jaxvit.errors import UserError
from jaxvit.runtime import gaps
from jaxvit.runtime import memory as kept_memory

on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's allocator")
COUNT = """
from jaxvit.runtime import gaps
def count():
    return sum(count for size, count in gaps._gaps() if size <= gaps.LARGEST)
"""


def numbers_of(script: str) -> list[int]:
    """Printed by a process in which nothing comes from the cache of programs."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT + script],
        env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    return list(map(int, done.stdout.split()))


@on_glibc
def test_free_blocks_between_blocks_in_use_are_taken():
    """Of each second of 6,000 blocks, and of two larger ones that are free, one of them too large.

    The one that is too large is given out again, whole.
    """
    before, taken, after, again, large, medium = numbers_of("""
from jaxvit.runtime.memory import keep_freed_memory
keep_freed_memory()
libc = gaps._libc()
medium, _, large, _ = map(libc.malloc, (400_000, 600_000, 1 << 20, 600_000))
sizes = [100 + 8 * i for i in range(6000)]
blocks = list(map(libc.malloc, sizes))
for block in [medium, large, *blocks[::2]]:
    libc.free(block)
print(count(), gaps.fill_gaps(), count(), gaps.fill_gaps())
print(int(libc.malloc(1 << 20) == large), int(libc.malloc(400_000) == medium))
""")
    freed = 400_000 + sum(100 + 8 * i for i in range(0, 6000, 2))
    assert before > 3000
    assert after <= gaps.FEW
    assert freed * 0.98 < taken < freed * 1.1  # others were free before, and few small ones stay
    assert (again, large, medium) == (0, 1, 0)


@on_glibc
def test_few_gaps_are_left_as_they_are():
    assert numbers_of("""
libc = gaps._libc()
gaps.fill_gaps()
before = gaps.FEW - count()
print(int(before >= 0), gaps.fill_gaps(), gaps.fill_gaps())
""") == [1, 0, 0]


COMPILE = """
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
print(count())
second = compiled(24)
print(count())
"""


@on_glibc
def test_gaps_are_filled_each_time_that_a_program_was_compiled():
    left = numbers_of(COMPILE.format(before=""))
    filled = numbers_of(COMPILE.format(before="gaps.fill_gaps_after_compiling()"))
    print(left, filled)
    assert min(left) > 3 * gaps.FEW
    assert max(filled) < 2 * gaps.FEW


def test_nothing_is_filled_at_other_events(monkeypatch):
    filled = []
    monkeypatch.setattr(gaps, "fill_gaps", lambda: filled.append(1))
    gaps._after("/jax/core/compile/jaxpr_trace_duration", 1.0, fun_name="f")
    assert not filled
    gaps._after(gaps.COMPILED, 1.0, fun_name="f")
    assert filled == [1]


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
    monkeypatch.setattr(kept_memory, "keep_freed_memory", lambda: kept)
    monkeypatch.setattr(sys, "argv", ["process", module, "{}"])
    runpy.run_module("jaxvit.speed.process", run_name="__main__")
    assert filled == (["fill"] if kept and module.startswith("jaxvit.") else [])
