"""The CPU as several devices: a device for each core, at most four, or what the user says."""

import os
import subprocess
import sys

import jax
import pytest

from jaxvit.runtime import cpu
from jaxvit.runtime.machine import describe_machine

PROGRAM = """
from jaxvit.runtime import cpu
cpu.cores = lambda: 3
cpu.divide_cpu()
import jax
print(jax.device_count())
cpu.cores = lambda: 2
cpu.divide_cpu()  # too late, and no error
"""


@pytest.mark.parametrize(
    ("cores", "asked", "set_to"), [(1, None, [1]), (2, None, [2]), (64, None, [4]), (2, "3", [])]
)
def test_a_core_is_a_device(cores, asked, set_to, monkeypatch):
    found = []
    monkeypatch.setattr(cpu, "cores", lambda: cores)
    monkeypatch.setattr(jax.config, "update", lambda name, value: found.append((name, value)))
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
    if asked:
        monkeypatch.setenv("JAX_NUM_CPU_DEVICES", asked)
    cpu.divide_cpu()
    assert found == [("jax_num_cpu_devices", value) for value in set_to]


@pytest.mark.parametrize(("cores", "set_to"), [(4, [4]), (5, [])])
def test_a_cpu_of_many_cores_is_not_divided_in_part(cores, set_to, monkeypatch):
    found = []
    monkeypatch.setattr(cpu, "cores", lambda: cores)
    monkeypatch.setattr(jax.config, "update", lambda name, value: found.append(value))
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
    cpu.divide_cpu(one_per_core=True)
    assert found == set_to


def test_jax_has_the_devices_and_too_late_is_no_error():
    env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    env.pop("JAX_NUM_CPU_DEVICES", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "3\n"


def test_a_report_counts_the_devices_of_all_processes(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    device = describe_machine()["device"]
    assert device == {"platform": "cpu", "kind": "cpu", "count": 4, "processes": 1}
