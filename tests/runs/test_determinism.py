"""Determinism: the same command gives the same parameters and the same numbers, to the bit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import train_jax
from tests.runs.test_resume import outcome

ROOT = Path(train_jax.__file__).parent


@pytest.mark.slow
def test_the_same_command_in_a_new_process_gives_the_same_bits(uninterrupted, tiny, tmp_path):
    """With dropout, crops and Mixup; another hash seed of Python and another cache of images."""
    config = json.loads((uninterrupted / "config.json").read_text())
    assert config["model"]["dropout"] > 0
    assert config["augment"]["mixup_alpha"] > 0
    assert config["augment"]["crop_scale"] != [1.0, 1.0]
    others = ["--data.cache-dir", str(tmp_path / "cache"), "--out", str(tmp_path / "run")]
    # Optimisations change rounding, so this process compiles as the reference did.
    quick = str(int(jax.config.read("jax_disable_most_optimizations")))
    environment = os.environ | {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": quick,
        "PYTHONHASHSEED": "12345",
    }
    command = [sys.executable, str(ROOT / "train_jax.py"), *tiny, *others]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert outcome(tmp_path / "run") == outcome(uninterrupted)


def test_what_only_says_how_much_is_written_changes_no_bit(uninterrupted, tiny, tmp_path):
    options = ["--log-every-steps", "7", "--checkpoint.every-steps", "0", "--checkpoint.keep", "1"]
    assert train_jax.main([*tiny, *options, "--out", str(tmp_path / "run")]) == 0
    assert outcome(tmp_path / "run")[0] == outcome(uninterrupted)[0]
