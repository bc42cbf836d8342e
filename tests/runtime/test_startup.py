"""Garbage collection while a program starts: none before its modules are there."""

import subprocess
import sys

import pytest

SCRIPT = """
import gc, runpy, sys
gc.set_debug(gc.DEBUG_STATS)  # a line on stderr for each collection
sys.argv = {argv}
try:
    runpy.{run}
except SystemExit:
    gc.set_debug(0)
    frozen = gc.get_freeze_count()
    print("frozen", frozen > 100_000, "enabled", gc.isenabled(), "modules", "jax" in sys.modules)
"""


@pytest.mark.parametrize(
    ("argv", "run"),
    [
        (["train_jax.py", "--help"], "run_path('train_jax.py', run_name='__main__')"),
        (["jaxvit", "convert", "--help"], "run_module('jaxvit', run_name='__main__')"),
    ],
)
def test_modules_are_imported_without_a_collection_and_left_out_of_later_ones(argv, run):
    script = SCRIPT.format(argv=argv, run=run)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "frozen True enabled True modules True"
    # Of the few modules before it, and of what the help makes, but not of the tens of imports.
    assert done.stderr.count("gc: collecting generation 2") <= 2
