"""Two processes on localhost, with two emulated devices each, train as one with four devices."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

import train_jax
from jaxvit.config import Config, DistributedConfig, ParallelConfig, check
from jaxvit.errors import UserError
from jaxvit.presets import PRESETS
from jaxvit.runs.directory import RunDirectory
from jaxvit.runtime.devices import make_devices
from jaxvit.runtime.distributed import SLURM, connect
from jaxvit.runtime.interrupt import StopSignals

ROOT = Path(train_jax.__file__).parent


@contextlib.contextmanager
def two_processes(*args: list[str]):
    """Starts two processes with the same options or with one list each; kills them at the end."""
    processes = start_two(*args)
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def finish(processes: list[subprocess.Popen]) -> tuple[list[int], list[str]]:
    """Exit codes and outputs; a deadlock raises after 280 s."""
    with ThreadPoolExecutor(2) as pool:
        printed = list(pool.map(lambda p: p.communicate(timeout=280)[0], processes))
    return [process.returncode for process in processes], printed


def start_two(args: list[str], others: list[str] | None = None) -> list[subprocess.Popen]:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        # Optimisations change rounding, so the processes compile as this one does.
        "JAX_DISABLE_MOST_OPTIMIZATIONS": str(
            int(jax.config.read("jax_disable_most_optimizations"))
        ),
    }
    return [
        subprocess.Popen(
            [sys.executable, str(ROOT / "train_jax.py"), *(others if index and others else args)]
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
    """The same logged steps and epochs; losses equal to 1e-5 of their size; as many steps."""
    found, expected = lines_of(out), lines_of(reference)
    keys = ("step", "epoch", "train/loss", "val/loss")
    for line, like in zip(found, expected, strict=True):
        assert {k: line[k] for k in keys if k in line} == pytest.approx(
            {k: like[k] for k in keys if k in like}, rel=1e-5
        )
    one, other = (json.loads((path / "summary.json").read_text()) for path in (out, reference))
    assert one["test/loss"] == pytest.approx(other["test/loss"], rel=1e-5)
    assert one["steps"] == other["steps"]


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one_with_as_many_devices(uninterrupted, tiny, tmp_path):
    """With the state sharded over all four devices, so that no process holds it whole."""
    out = tmp_path / "run"
    with two_processes([*tiny, "--out", str(out), "--parallel.shard-params"]) as processes:
        codes, printed = finish(processes)
    assert codes == [0, 0], printed
    assert_same_run(out, uninterrupted)
    assert json.loads((out / "summary.json").read_text())["device"]["processes"] == 2
    # Only process 0 prints and writes.
    assert "test accuracy" in printed[0]
    assert "test accuracy" not in printed[1]
    assert len(list(out.glob("events.out.tfevents.*"))) == 1


@pytest.mark.slow
def test_statistics_of_batches_are_those_of_all_processes(tiny, tmp_path):
    """In the step, and when SWA computes them anew.

    In few steps of large batches: XLA's convolutions round otherwise for other processes, by 1e-7,
    and after an input of a ReLU has changed its sign by that, two runs of many steps part.
    """
    args = [*tiny[:2], *tiny[8:], "--model.name", "resnet18", "--model.stem", "cifar",
            "--model.width", "4", "--batch-size", "400", "--log-every-steps", "1",
            "--optim.ema-decay", "0", "--optim.name", "sgd", "--optim.lr", "0.01",
            "--optim.swa-start", "0.5", "--optim.swa-lr", "0.01", "--select", "last",
            "--checkpoint.every-steps", "0"]  # fmt: skip
    assert train_jax.main([*args, "--out", str(tmp_path / "one")]) == 0
    with two_processes([*args, "--out", str(tmp_path / "two")]) as processes:
        codes, printed = finish(processes)
    assert codes == [0, 0], printed
    assert_same_run(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_and_another_topology_resumes(
    uninterrupted, tiny, tmp_path
):
    """Two processes stop, with a sharded state; one process resumes, with a replicated state."""
    out = tmp_path / "run"
    with two_processes([*tiny, "--out", str(out), "--parallel.shard-params"]) as processes:
        while len(lines_of(out)) < 2 and processes[0].poll() is None:
            time.sleep(0.02)
        processes[1].send_signal(signal.SIGTERM)
        codes, printed = finish(processes)
    assert codes == [143, 143], printed
    assert not (out / "summary.json").exists()
    assert train_jax.main([*tiny, "--out", str(out), "--resume"]) == 0
    assert_same_run(out, uninterrupted)


def test_processes_that_were_started_differently_are_refused(tiny, tmp_path):
    """Otherwise each would train different parameters without an error."""
    common = [*tiny, "--out", str(tmp_path / "run")]
    with two_processes([*common, "--seed", "0"], [*common, "--seed", "1"]) as processes:
        codes, printed = finish(processes)
    assert 2 in codes
    assert "the processes do not have the same options" in "".join(printed)
    assert not (tmp_path / "run").exists()


def test_processes_agree_on_a_signal_only_every_few_steps():
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
def test_inconsistent_distributed_options_are_refused(distributed, message):
    with pytest.raises(UserError) as error:
        check(replace(PRESETS["digits"], distributed=DistributedConfig(**distributed)))
    assert message in str(error.value)


def test_without_a_coordinator_only_slurm_steps_and_tpu_pods_are_joined(monkeypatch):
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *a, **k: calls.append((a, k)))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    for name in SLURM:
        monkeypatch.delenv(name, raising=False)
    connect(DistributedConfig())
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_PROCID", "0")
    connect(DistributedConfig())
    assert calls == []  # a batch script outside srun has only these two, and runs alone
    for name in SLURM:
        monkeypatch.setenv(name, "2")
    connect(DistributedConfig())
    assert calls.pop() == ((), {"cluster_detection_method": "slurm"})
    connect(DistributedConfig("here:1", 2, 0))
    assert calls.pop()[0] == ("here:1", 2, 0)  # options override what is detected
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.delenv("JAX_PLATFORMS")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    connect(DistributedConfig())
    assert calls.pop() == ((), {})  # libtpu is installed: JAX looks for a pod


def test_a_coordinator_that_does_not_answer_is_a_user_error():
    with socket.socket() as taken:  # bound but not listening
        taken.bind(("localhost", 0))
        address = f"localhost:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=rf"cannot join the others of the run \({address} does"):
            connect(DistributedConfig(address, 2, 1), timeout_sec=1)


def test_a_coordinator_whose_host_does_not_exist_is_refused_at_once():
    with pytest.raises(UserError, match="nowhere.invalid is not the name of a host"):
        connect(DistributedConfig("nowhere.invalid:1234", 2, 1), timeout_sec=100)


def test_pmap_with_several_processes_is_refused(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(UserError, match="pmap supports one process, and there are 2"):
        make_devices(Config(parallel=ParallelConfig(mode="pmap")))


def test_processes_with_unequal_numbers_of_devices_are_refused(monkeypatch):
    devices = [SimpleNamespace(process_index=index // 2, id=index) for index in range(3)]
    monkeypatch.setattr(jax, "devices", lambda: devices)
    with pytest.raises(UserError, match="the processes have 2, 1 devices"):
        make_devices(Config())


def test_a_run_directory_that_does_not_write_creates_no_files(tmp_path):
    run = RunDirectory(Config(out=str(tmp_path / "run")), writes=False)
    run.open({})
    run.log(1, 1, {"train/loss": 1.0})
    run.rewind(0)
    assert list(tmp_path.iterdir()) == []
