"""The trainer, the run directory and the devices serve a task that is unlike classification.

It has two networks that are updated alternately, each with its own optimiser; running statistics;
no accuracy; a metric to be minimised; and a score that is not a sum over batches. See
tests/toy_tasks.py.
"""

import json
import os
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

import train_jax
from jaxvit.command_line import parse
from jaxvit.data.datasets import load_dataset
from jaxvit.errors import Interrupted, UserError
from jaxvit.runs.directory import RunDirectory
from jaxvit.runs.progress import make_console
from jaxvit.runs.saved_items import read_weights
from jaxvit.runtime.devices import AXIS, Devices
from tests.toy_tasks import SIZE, make_alternating

SEED = 5
MODES = {"jit": (4, "jit", False), "one": (1, "jit", False), "pmap": (4, "pmap", False),
         "sharded": (4, "jit", True)}  # fmt: skip


def run(tiny: list[str], out: Path, how: str = "jit", make=make_alternating) -> dict:
    count, mode, shard_params = MODES[how]
    devices = Devices(Mesh(np.asarray(jax.devices()[:count]), (AXIS,)), mode, shard_params)
    more = ["--optim.ema-decay", "0.9", "--epochs", "3", "--seed", str(SEED)]
    _, config = parse([*tiny, "--out", str(out), *more])
    with RunDirectory(config) as directory:
        return train_jax.train("toy", config, devices, directory, make_console(quiet=True), make)


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory, _quick_compilation) -> dict[str, tuple[Path, dict]]:
    root = tmp_path_factory.mktemp("toy")
    return {how: (root / how, run(tiny, root / how, how)) for how in MODES}


def validations(path: Path) -> list[dict]:
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "val/error" in line]


@pytest.mark.parametrize("how", MODES)
def test_the_task_trains_and_reports_in_every_mode(runs, how):
    path, summary = runs[how]
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    train = [line for line in lines if "train/loss/encoder" in line]
    assert train[-1]["train/loss/decoder"] < 0.7 * train[0]["train/loss/encoder"]
    assert train[-1]["train/learning_rate/encoder"] == pytest.approx(1e-2)
    assert train[-1]["train/learning_rate/decoder"] == pytest.approx(0.5)
    # The decoder's phase sees the encoder that has just been updated.
    assert train[-1]["train/loss/decoder"] < train[-1]["train/loss/encoder"]
    assert summary["best"]["val/median_error"] == min(
        line["val/median_error"] for line in validations(path)
    )
    assert {"test/error", "test/median_error"} <= summary.keys()
    assert not any("accuracy" in name for name in summary)
    assert [p.name for p in (path / "plots").iterdir()] == ["errors.png"]


@pytest.mark.parametrize("how", ["one", "pmap", "sharded"])
def test_every_mode_gives_the_same_scores(runs, how):
    for key in ("test/error", "test/median_error"):
        assert runs[how][1][key] == pytest.approx(runs["jit"][1][key], rel=1e-4)


def test_the_reported_scores_are_those_of_the_saved_weights(runs, tiny):
    path, summary = runs["jit"]
    step, weights = read_weights(path / "checkpoints", (("median_error", False),), warn=pytest.fail)
    assert step == summary["best"]["step"]
    _, config = parse(tiny)
    data = load_dataset(config.data, 8, 1)
    pixels = data.test.pixels[data.test.rows].reshape(len(data.test), -1) / 255
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(SEED), np.arange(len(pixels)))
    noise = jax.vmap(lambda key: jax.random.normal(key, (SIZE,)))(keys)
    pixels = pixels + 0.01 * np.asarray(noise)
    centred = pixels - np.asarray(weights["statistics"]["mean"], np.float64)
    decoded = centred @ weights["encoder"]["kernel"] @ weights["decoder"]["kernel"]
    errors = ((decoded - centred) ** 2).mean(axis=1)
    assert summary["test/error"] == pytest.approx(errors.mean(), rel=1e-5)
    assert summary["test/median_error"] == pytest.approx(np.median(errors), rel=1e-5)
    # Integers are copied and not averaged; each of the two phases of a step adds 1.
    assert weights["statistics"]["updates"].dtype == np.int32
    assert weights["statistics"]["updates"] == 2 * step


def test_pictures_are_of_the_state_that_is_scored(tiny, tmp_path):
    """The first one, by an error that is to rise."""
    seen = []

    def make(*args):
        def draw(results):
            seen.append(results)
            return {}

        return make_alternating(*args)._replace(monitor=(("error", True),), draw=draw)

    summary = run(tiny, tmp_path / "run", "one", make)
    (results,) = seen
    assert results.best_step == summary["scored_step"] < summary["steps"]
    assert results.weights["statistics"]["updates"] == 2 * summary["scored_step"]
    assert results.evaluation.metrics == {
        name: summary[f"test/{name}"] for name in ("error", "median_error")
    }


@pytest.mark.parametrize(
    "how", ["jit", *(pytest.param(how, marks=pytest.mark.slow) for how in MODES if how != "jit")]
)
def test_a_resumed_run_has_bitwise_the_same_result(runs, tiny, tmp_path, monkeypatch, how):
    log = RunDirectory.log

    def log_and_stop(self, at, epoch, metrics):
        log(self, at, epoch, metrics)
        if at == 25 and "train/loss/encoder" in metrics:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "log", log_and_stop)
        with pytest.raises(Interrupted, match="stopped after step 26"):
            run(tiny, tmp_path / "run", how)
    summary = run(tiny, tmp_path / "run", how)
    expected = runs[how][1]
    for key in ("params_sha256", "test/error", "test/median_error"):
        assert summary[key] == expected[key]


def test_pmap_is_refused_where_a_task_does_not_gather_its_examples(tiny, tmp_path):
    def make(*args):
        return make_alternating(*args[:3], None)

    with pytest.raises(UserError, match="--parallel.mode pmap does not fit this method"):
        run(tiny, tmp_path / "run", "pmap", make)


def test_training_runs_and_runtime_do_not_name_a_metric():
    root = Path(train_jax.__file__).parent / "jaxvit"
    for room in ("training", "runs", "runtime"):
        paths = list((root / room).rglob("*.py"))
        assert len(paths) > 3
        for path in paths:
            assert "accuracy" not in path.read_text(), path


def test_a_step_that_changes_a_dtype_of_the_state_is_refused():
    """It is refused when it is traced."""
    from jaxvit.training.state import create_state
    from jaxvit.training.steps import make_train_step

    task = make_alternating(None, None, 1, None)
    phase = task.phases[0]

    def loss(*args):
        value, (extra, metrics) = phase.loss(*args)
        return value, (replace_updates(extra), metrics)

    def replace_updates(extra):
        return extra | {"updates": extra["updates"].astype(np.float32)}

    broken = task._replace(phases=(phase._replace(loss=loss),))
    state = create_state(broken, 0)
    batch = {"image": np.zeros((4, 8, 8, 1), np.uint8), "index": np.arange(4, dtype=np.int32)}
    with pytest.raises(AssertionError, match="dtype"):
        make_train_step(broken, seed=0)(state, batch)
