"""The CPU as several devices: a device for each core, at most four, or what the user says."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os
os.sched_getaffinity = lambda _: range(int(os.environ["CORES"]))
from jaxvit.runtime.cpu import divide_cpu
divide_cpu()
import jax
print(jax.device_count())
divide_cpu()  # too late, and no error
"""


@pytest.mark.parametrize(
    ("cores", "asked", "devices"), [("1", None, 1), ("2", None, 2), ("64", None, 4), ("2", "3", 3)]
)
def test_a_core_is_a_device(cores, asked, devices):
    env = os.environ | {"JAX_PLATFORMS": "cpu", "CORES": cores, "XLA_FLAGS": ""}
    env.pop("JAX_NUM_CPU_DEVICES", None)
    if asked:
        env["JAX_NUM_CPU_DEVICES"] = asked
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{devices}\n"
