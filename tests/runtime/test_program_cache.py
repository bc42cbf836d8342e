"""Programs cached for later processes."""

import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import pytest

import train_jax
from jaxvit.config import Config
from jaxvit.errors import UserError
from jaxvit.runtime import program_cache

# Runs one program; prints whether programs are cached, the number of cache hits, and the result.
PROGRAM = """
import sys
from pathlib import Path
import jax, jax.numpy as jnp
from jaxvit.runtime.program_cache import keep_programs

events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
kept = keep_programs(Path(sys.argv[1]))
out = jax.jit(lambda x: jnp.sin(x @ x).sum())(jnp.ones((64, 64)))
found = sum(event.endswith("compilation_cache/cache_hits") for event in events)
print(int(kept), found, float(out).hex())
"""


def process(directory, **environment: str) -> tuple[bool, int, str]:
    """Whether programs are cached, the number of cache hits, and the result."""
    # Without conftest.py's log level, XLA prints a warning for a program that it cannot use.
    ours = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    left_out = ("JAX_COMPILATION_CACHE_DIR", "TF_CPP_MIN_LOG_LEVEL")
    clean = {k: v for k, v in os.environ.items() if k not in left_out} | ours
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(directory)],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    kept, found, out = done.stdout.split()
    return kept == "1", int(found), out


def test_a_later_process_loads_the_programs_of_an_earlier_one(tmp_path):
    kept, found, out = process(tmp_path)
    assert kept
    assert found == 0
    kept, found_later, again = process(tmp_path)
    assert kept
    assert found_later > 0
    assert again == out


def test_a_process_with_another_number_of_threads_compiles_its_own_programs(tmp_path):
    assert process(tmp_path, NPROC="1")[:2] == (True, 0)
    assert process(tmp_path, NPROC="2")[:2] == (True, 0)


def test_a_directory_in_jax_compilation_cache_dir_is_used_instead(tmp_path):
    process(tmp_path / "ours", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "named"))
    assert any((tmp_path / "named").iterdir())
    assert not (tmp_path / "ours").exists()


def test_no_program_is_cached_where_the_directory_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    assert process(tmp_path / "file")[:2] == (False, 0)


def test_the_oldest_programs_are_evicted_above_the_limit(tmp_path, monkeypatch):
    for age, name in enumerate(["new-cache", "older-cache", "oldest-cache"]):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    monkeypatch.setattr(program_cache, "KEPT_BYTES", 20)
    program_cache._remove_oldest(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"new-cache", "older-cache"}


@pytest.mark.parametrize(
    ("args", "calls"),
    [([], 1), (["--no-keep-programs"], 0), (["--parallel.shard-params"], 0)],
)
def test_a_run_caches_its_programs_unless_asked_not_to(args, calls, tmp_path, monkeypatch, capsys):
    kept, cache = [], tmp_path / "cache"

    def note(directory):
        kept.append(directory)
        return True

    def stop(*args):
        raise UserError("far enough")

    monkeypatch.setattr(program_cache, "keep_programs", note)
    monkeypatch.setattr(train_jax, "load_data", stop)
    places = ["--out", str(tmp_path / "run"), "--data.cache-dir", str(cache)]
    assert train_jax.main([*args, *places]) == 2
    assert "far enough" in capsys.readouterr().err
    assert kept == [cache] * calls


@pytest.mark.parametrize(("processes", "calls"), [(1, 1), (2, 0)])
def test_several_processes_cache_nothing(processes, calls, monkeypatch):
    kept = []
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    monkeypatch.setattr(program_cache, "keep_programs", lambda place: kept.append(place) or True)
    program_cache.cache_programs(Config(), print)
    assert len(kept) == calls


def test_each_instruction_set_has_its_own_programs_and_old_ones_are_evicted(tmp_path, monkeypatch):
    """A disk may be shared by machines whose processors have one name."""
    set_to, evicted = [], []
    config = SimpleNamespace(
        jax_compilation_cache_dir=None, update=lambda name, value: set_to.append(value)
    )
    monkeypatch.setattr(program_cache, "jax", SimpleNamespace(config=config))
    monkeypatch.setattr(program_cache, "_remove_oldest", evicted.append)
    for flags in ("avx2", "avx2 avx512f"):
        monkeypatch.setattr(program_cache, "instructions", lambda flags=flags: flags)
        assert program_cache.keep_programs(tmp_path)
    places = sorted((tmp_path / "programs").iterdir())
    assert len(places) == 2
    assert sorted(evicted) == places
    assert {x for x in set_to if isinstance(x, str)} == set(map(str, places))
