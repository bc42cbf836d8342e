"""Checkpoints: which is restored, kept, listed and refused; what a run reports of its lines."""

import json
import shutil

import chex
import jax
import jax.numpy as jnp
import pytest

from jaxvit.config import Config, OptimConfig
from jaxvit.errors import UserError
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.runs.checkpoint import Checkpoints
from jaxvit.runs.recorder import images_per_sec
from jaxvit.runs.saved_items import make_rank, ranked_weights, read_weights
from jaxvit.tasks.classification import make_classification
from jaxvit.training.state import create_state
from tests.tiny_model import MODEL, plain_task


def test_the_best_state_is_restored_and_a_damaged_one_is_not(tmp_path):
    task = make_classification(MODEL, *make_optimizer(OptimConfig(), 10), Config())
    state = create_state(task, 0, average=True)
    warnings = []
    with Checkpoints(tmp_path / "checkpoints", task.monitor, warn=warnings.append) as checkpoints:
        for step, accuracy, loss in ((1, 0.9, 3.0), (2, 0.9, 2.0), (3, 0.5, 1.0)):
            moved = jax.tree.map(lambda x, step=step: x + step, state.params)
            state = state._replace(step=jnp.int32(step), params=moved)
            checkpoints.save(state, {"val/accuracy": accuracy, "val/loss": loss})
            if step == 2:
                expected = jax.device_get(state)
        found = checkpoints.restore_best(like=state)
        # Half of the newest checkpoint's files are lost: it is named, and step 2 is restored.
        torn = tmp_path / "checkpoints" / "3"
        for path in [path for path in torn.rglob("*") if path.is_file()][::2]:
            path.unlink()
        before = checkpoints.restore_latest(like=state)
        assert int(before.step) == 2
        assert len(warnings) == 1
        assert f"{torn} is damaged" in warnings[0]
    chex.assert_trees_all_equal(found, expected)
    assert isinstance(found, type(state))
    kept = {path.name for path in (tmp_path / "checkpoints").iterdir() if path.is_dir()}
    assert kept == {"2"}


@pytest.mark.parametrize("item", ["params", "opt_state", "averages", "step"])
def test_a_checkpoint_with_an_item_of_another_step_is_damaged(tmp_path, item):
    """Each item is intact by itself; only its hash shows that it belongs to another step."""
    state, task, checkpoints = three_checkpoints(tmp_path)
    with checkpoints:
        checkpoints.wait()
        path = tmp_path / "checkpoints"
        if item == "step":
            (path / "3").rename(path / "4")
            (path / "2").rename(path / "3")
            found = checkpoints.restore_best(like=state)
            assert int(found.step) == 1
        else:
            shutil.rmtree(path / "3" / item)
            shutil.copytree(path / "2" / item, path / "3" / item)
            found = checkpoints.restore_latest(like=state)
            assert (tmp_path / "damaged" / "3").is_dir()
            assert int(found.step) == 2
    if item in ("params", "averages"):
        warnings = []
        shutil.rmtree(path / "2" / item)
        shutil.copytree(path / "1" / item, path / "2" / item)
        step, _ = read_weights(path, task.monitor, warn=warnings.append)
        averaged = item == "averages"  # averages are read if there are any
        assert (step == 1) == averaged
        assert len(warnings) == averaged


def three_checkpoints(tmp_path, scores=((0.9, 3.0), (0.9, 2.0), (0.5, 1.0)), keep=3):
    """States of steps 1 to 3 whose arrays all differ, with their (accuracy, loss)."""
    task = make_classification(MODEL, *make_optimizer(OptimConfig(), 10), Config())
    state = create_state(task, 0, average=True)
    checkpoints = Checkpoints(
        tmp_path / "checkpoints", task.monitor, keep=keep, warn=lambda line: None
    )
    for step, (accuracy, loss) in enumerate(scores, 1):
        state = jax.tree.map(lambda x: x + 1, state)._replace(step=jnp.int32(step))
        checkpoints.save(state, {"val/accuracy": accuracy, "val/loss": loss})
    return state, task, checkpoints


@pytest.mark.parametrize("keep_best", [1, 2, 3])
def test_the_best_checkpoints_are_kept_beside_the_latest(tmp_path, keep_best):
    """Of equal accuracies the one with the lower loss is better."""
    task = plain_task()
    state = create_state(task, 0)
    scores = ((0.9, 3.0), (0.2, 1.0), (0.9, 2.0), (0.5, 1.0), (0.1, 1.0), (0.3, 1.0))
    with Checkpoints(
        tmp_path / "checkpoints", task.monitor, keep=1, keep_best=keep_best
    ) as checkpoints:
        for step, (accuracy, loss) in enumerate(scores, 1):
            state = state._replace(step=jnp.int32(step))
            checkpoints.save(state, {"val/accuracy": accuracy, "val/loss": loss})
        checkpoints.save(state._replace(step=jnp.int32(7)))  # not validated
    kept = {int(path.name) for path in (tmp_path / "checkpoints").glob("[0-9]*")}
    assert kept == {7, *[3, 1, 4][:keep_best]}


def test_whole_checkpoints_are_listed_from_best_to_worst(tmp_path):
    state, task, checkpoints = three_checkpoints(tmp_path, ((0.9, 3.0), (0.9, 2.0), (0.5, 1.0)))
    with checkpoints:
        later = state._replace(step=jnp.int32(4))
        checkpoints.save(later)  # the newest three stay: steps 2, 3 and 4, and the best, 2
        checkpoints.wait()
    warnings = []
    found = list(ranked_weights(tmp_path / "checkpoints", task.monitor, warnings.append))
    assert [each.step for each in found] == [2, 3, 4]
    assert [each.scores for each in found] == [
        {"val/accuracy": 0.9, "val/loss": 2.0},
        {"val/accuracy": 0.5, "val/loss": 1.0},
        None,
    ]
    chex.assert_trees_all_equal(found[1].weights, jax.device_get(state.averages))
    newest = list(ranked_weights(tmp_path / "checkpoints", None, warnings.append))
    assert [each.step for each in newest] == [4, 3, 2]
    assert not warnings
    shutil.rmtree(tmp_path / "checkpoints" / "2" / "averages")
    found = list(ranked_weights(tmp_path / "checkpoints", task.monitor, warnings.append))
    assert [each.step for each in found] == [3, 4]
    assert len(warnings) == 1


def test_the_report_and_a_loaded_run_take_the_next_best_if_the_best_is_damaged(tmp_path):
    """Neither the newest, which is step 3, nor one that was not validated."""
    state, task, checkpoints = three_checkpoints(tmp_path, keep=4)
    with checkpoints:
        checkpoints.save(state._replace(step=jnp.int32(4)))
        checkpoints.wait()
        shutil.rmtree(tmp_path / "checkpoints" / "2" / "params")
        shutil.rmtree(tmp_path / "checkpoints" / "2" / "averages")
        assert int(checkpoints.restore_best(like=state).step) == 1
        step, _ = read_weights(tmp_path / "checkpoints", task.monitor, warn=lambda line: None)
        assert step == 1


def test_a_minimised_metric_is_best_where_it_is_lowest():
    rank = make_rank((("error", False), ("spread", True)))
    worse, better = {"val/error": 2.0, "val/spread": 9}, {"val/error": 1.0, "val/spread": 1}
    assert rank(better) > rank(worse)
    assert rank({"val/error": 1.0, "val/spread": 2}) > rank(better)


def test_a_checkpoint_of_another_version_is_refused_by_name(tmp_path, monkeypatch):
    state, task, checkpoints = three_checkpoints(tmp_path)
    with checkpoints:
        checkpoints.wait()
        for path in (tmp_path / "checkpoints").glob("*/seal/metadata"):
            seal = json.loads(path.read_text())
            del seal["version"]  # as in checkpoints older than versions
            path.write_text(json.dumps(seal))
        for read in (
            lambda: checkpoints.restore_latest(like=state),
            lambda: read_weights(tmp_path / "checkpoints", task.monitor, warn=pytest.fail),
        ):
            with pytest.raises(UserError, match="written by another version of jaxvit"):
                read()
    assert len(list((tmp_path / "checkpoints").glob("[0-9]*"))) == 3  # none was moved to damaged/


def test_saving_says_whether_the_state_is_the_best(tmp_path):
    state = create_state(plain_task(), 0)
    with Checkpoints(tmp_path / "checkpoints", (("accuracy", True),)) as checkpoints:
        best = [
            checkpoints.save(state._replace(step=jnp.int32(step)), {"val/accuracy": accuracy})
            for step, accuracy in ((1, 0.5), (2, 0.9), (3, 0.7))
        ]
    assert best == [True, True, False]


def test_images_per_sec_of_a_run_is_the_mean_rate_of_its_lines():
    lines = [
        {"step": 1, "train/loss": 1.0},  # compilation: no rate
        {"step": 11, "images_per_sec": 100.0, "train/loss": 1.0},
        {"step": 11, "val/loss": 1.0},
        {"step": 31, "images_per_sec": 50.0, "train/loss": 1.0},
    ]
    assert images_per_sec(lines) == pytest.approx(30 / (10 / 100 + 20 / 50))
    assert images_per_sec([]) == 0
