"""Many processes are one program: two on localhost, with two emulated devices each."""

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import pytest

import train_jax
from jaxvit.config import PRESETS, Config, DistributedConfig, ParallelConfig, UserError
from jaxvit.config_check import check
from jaxvit.distributed import connect
from jaxvit.interrupt import StopSignals
from jaxvit.parallel import make_devices
from jaxvit.report import RunDirectory

ROOT = Path(train_jax.__file__).parent


def start_two(args: list[str]) -> list[subprocess.Popen]:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        # Quick compilation changes rounding: compile as this process does.
        "JAX_DISABLE_MOST_OPTIMIZATIONS": str(
            int(jax.config.read("jax_disable_most_optimizations"))
        ),
    }
    return [
        subprocess.Popen(
            [sys.executable, str(ROOT / "train_jax.py"), *args]
            + ["--distributed.coordinator", f"localhost:{port}"]
            + ["--distributed.num-processes", "2", "--distributed.process-id", str(index)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]


def lines_of(out: Path) -> list[dict]:
    path = out / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def assert_same_run(out: Path, reference: Path) -> None:
    """Every line that the reference has, its losses to float32 rounding, and the test scores."""
    found, expected = lines_of(out), lines_of(reference)
    keys = ("step", "epoch", "train/loss", "val/loss")
    for line, like in zip(found, expected, strict=True):
        assert {k: line[k] for k in keys if k in line} == pytest.approx(
            {k: like[k] for k in keys if k in like}, rel=1e-5
        )
    one, other = (json.loads((path / "summary.json").read_text()) for path in (out, reference))
    assert one["test/loss"] == pytest.approx(other["test/loss"], rel=1e-5)
    assert one["steps"] == other["steps"]


def test_two_processes_give_the_losses_of_one_with_as_many_devices(uninterrupted, tiny, tmp_path):
    """With the state cut over all four devices, which no process then holds whole."""
    out = tmp_path / "run"
    processes = start_two([*tiny, "--out", str(out), "--parallel.shard-params"])
    printed = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    assert_same_run(out, uninterrupted)
    assert json.loads((out / "summary.json").read_text())["device"]["processes"] == 2
    # One process speaks and writes.
    assert "test accuracy" in printed[0]
    assert "test accuracy" not in printed[1]
    assert len(list(out.glob("events.out.tfevents.*"))) == 1


def test_a_signal_to_one_process_stops_both_and_another_topology_goes_on(
    uninterrupted, tiny, tmp_path
):
    """Two processes are stopped, with the state cut; one goes on, with the state whole."""
    out = tmp_path / "run"
    processes = start_two([*tiny, "--out", str(out), "--parallel.shard-params"])
    while len(lines_of(out)) < 2 and processes[0].poll() is None:
        pass
    processes[1].send_signal(signal.SIGTERM)
    printed = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [143, 143], printed
    assert not (out / "summary.json").exists()
    assert train_jax.main([*tiny, "--out", str(out), "--resume"]) == 0
    assert_same_run(out, uninterrupted)


def test_processes_agree_on_a_signal_at_the_steps_they_ask_each_other():
    asked = []

    def agree(number: int) -> int:
        asked.append(number)
        return signal.SIGTERM if len(asked) == 2 else number

    with StopSignals(agree, every_steps=5) as stop:
        assert [step for step in range(1, 13) if stop.should_stop(step)] == [10, 11, 12]
    assert len(asked) == 2
    assert stop.agreed == signal.SIGTERM


@pytest.mark.parametrize(
    ("distributed", "message"),
    [
        ({"coordinator": "here:1"}, "go together: give all three, or none"),
        ({"coordinator": "here", "num_processes": 2, "process_id": 0}, "here is not HOST:PORT"),
        ({"coordinator": "here:1", "num_processes": 0, "process_id": 0}, "num-processes 0 is out"),
        ({"coordinator": "here:1", "num_processes": 2, "process_id": 2}, "must lie in [0, 2)"),
    ],
)
def test_processes_that_cannot_find_each_other_are_refused(distributed, message):
    with pytest.raises(UserError) as error:
        check(replace(PRESETS["digits"], distributed=DistributedConfig(**distributed)))
    assert message in str(error.value)


def test_slurm_and_tpu_pods_are_found_and_nothing_else(monkeypatch):
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *a, **k: calls.append((a, k)))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    for name in ("SLURM_NTASKS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    connect(DistributedConfig())
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("SLURM_PROCID", "0")
    connect(DistributedConfig())
    assert calls == []  # alone
    monkeypatch.setenv("SLURM_NTASKS", "2")
    connect(DistributedConfig())
    assert calls.pop() == ((), {"cluster_detection_method": "slurm"})
    connect(DistributedConfig("here:1", 2, 1))
    assert calls.pop()[0] == ("here:1", 2, 1)  # what was said goes before what was found
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.delenv("JAX_PLATFORMS")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    connect(DistributedConfig())
    assert calls.pop() == ((), {})  # libtpu is there: JAX looks for a pod


def test_a_coordinator_that_does_not_answer_is_one_line(monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("DEADLINE_EXCEEDED:\nno answer")

    monkeypatch.setattr(jax.distributed, "initialize", refuse)
    with pytest.raises(UserError, match=r"cannot join the others of the run \(DEADLINE"):
        connect(DistributedConfig("here:1", 2, 1))


def test_pmap_serves_one_process(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "local_device_count", lambda: 2)
    with pytest.raises(UserError, match="pmap serves one process, and there are 2"):
        make_devices(Config(parallel=ParallelConfig(mode="pmap")))
    monkeypatch.setattr(jax, "local_device_count", lambda: 3)
    with pytest.raises(UserError, match="3 of 4 devices over 2 processes"):
        make_devices(Config())


def test_a_process_that_does_not_write_leaves_nothing(tmp_path):
    run = RunDirectory(Config(out=str(tmp_path / "run")), writes=False)
    run.open({})
    run.log(1, 1, {"train/loss": 1.0})
    run.rewind(0)
    assert list(tmp_path.iterdir()) == []
