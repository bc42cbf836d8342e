"""Optimiser options, the averaged parameters, the plan of a run, scoring, and checkpoints."""

import functools
import json
import math
import shutil
import subprocess
import sys
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from jax.sharding import Mesh

import train_jax
from jaxvit.config import Config, DataConfig, OptimConfig
from jaxvit.data.datasets import Split
from jaxvit.errors import UserError
from jaxvit.models.transformer import VisionTransformer, init_params
from jaxvit.objectives.metrics import compute_metrics, count, wilson
from jaxvit.optim.averaging import update_average
from jaxvit.optim.optimizers import decay_mask, make_optimizer
from jaxvit.optim.schedules import make_schedule, warmup_steps
from jaxvit.runs.checkpoint import Checkpoints
from jaxvit.runs.recorder import images_per_sec
from jaxvit.runs.saved_items import make_rank, ranked_weights, read_weights
from jaxvit.runtime.devices import AXIS, Devices
from jaxvit.tasks.classification import make_classification
from jaxvit.training import evaluate, steps
from jaxvit.training.evaluate import make_score
from jaxvit.training.fit import STEPS_AHEAD, Plan, fit
from jaxvit.training.state import create_state, weights_of
from jaxvit.training.steps import make_train_step, step_keys

MODEL = VisionTransformer(
    img_size=4, patch_size=2, num_classes=3, embed_dim=8, num_heads=2, num_layers=1
)


@functools.cache
def params():
    return init_params(MODEL, jax.random.key(0))


# The optimiser.


def test_warm_up_rises_linearly_and_cosine_ends_at_zero():
    config = OptimConfig(lr=0.4, schedule="cosine", warmup_steps=4)
    schedule = make_schedule(config, total_steps=14)
    rates = np.array([float(schedule(step)) for step in range(15)])
    np.testing.assert_allclose(rates[:5], [0.1, 0.2, 0.3, 0.4, 0.4], rtol=1e-6)
    np.testing.assert_allclose(rates[9], 0.2, rtol=1e-6)
    np.testing.assert_allclose(rates[14], 0, atol=1e-9)
    assert float(make_schedule(OptimConfig(lr=0.3, warmup_steps=1), 5)(0)) == pytest.approx(0.3)
    assert float(make_schedule(OptimConfig(), 5)(99)) == pytest.approx(1e-3)


def test_only_kernels_decay_under_the_decay_mask():
    kept = [
        jax.tree_util.keystr(path)
        for path, decays in jax.tree.leaves_with_path(decay_mask(params()))
        if decays
    ]
    assert all("kernel" in name for name in kept)
    assert len(kept) == 6  # patches, qkv, fc_out, mlp_0, mlp_3, head
    tx, _ = make_optimizer(OptimConfig(decay="matrices", weight_decay=0.5), 10)
    start = params()
    zeros = jax.tree.map(jnp.zeros_like, start)
    updates, _ = jax.jit(tx.update)(zeros, tx.init(start), start)
    assert not updates["norm"]["scale"].any()
    np.testing.assert_allclose(updates["head"]["kernel"], -5e-4 * start["head"]["kernel"], 1e-5)


def test_clipping_scales_the_gradient_before_the_moments():
    """A large gradient among small ones changes the parameter less when it is clipped."""
    gradients = [1.0, 1.0, 1000.0, 1.0]

    def run(clip_norm):
        tx, _ = make_optimizer(OptimConfig(clip_norm=clip_norm, weight_decay=0.0), 10)
        value = {"kernel": jnp.zeros(1)}
        state = tx.init(value)
        for gradient in gradients:
            updates, state = tx.update({"kernel": jnp.full(1, gradient)}, state, value)
            value = optax.apply_updates(value, updates)
        return float(value["kernel"][0])

    assert run(1.0) == pytest.approx(-4e-3, rel=1e-4)  # four equal steps of lr
    assert abs(run(0.0) - run(1.0)) > 5e-4
    assert abs(run(2.0) - run(1.0)) > 5e-5


def test_adams_decays_and_eps_are_those_of_the_configuration():
    lr, b1, b2, eps = 0.1, 0.6, 0.8, 0.5
    tx, _ = make_optimizer(OptimConfig(lr=lr, b1=b1, b2=b2, eps=eps, weight_decay=0.0), 10)
    value = {"kernel": jnp.zeros(1)}
    state, m, v = tx.init(value), 0.0, 0.0
    for t, gradient in enumerate((1.0, -3.0, 0.5), 1):
        updates, state = tx.update({"kernel": jnp.full(1, gradient)}, state, value)
        m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
        expected = -lr * m / (1 - b1**t) / (math.sqrt(v / (1 - b2**t)) + eps)
        assert float(updates["kernel"][0]) == pytest.approx(expected, rel=1e-5)


def plain_task(rate: float = 0.1):
    """No augmentation, no dropout, no smoothing, plain gradient descent."""
    config = Config(label_smoothing=0.0)
    model = MODEL.clone(dropout=0.0)
    return make_classification(model, optax.sgd(rate), optax.constant_schedule(rate), config)


def test_the_average_follows_the_parameters():
    task = plain_task()
    state = create_state(task, 0, average=True)
    batch = {"image": np.full((2, 4, 4, 3), 99, np.uint8), "label": np.array([0, 1])}
    before = state.params["head"]["bias"]
    state, _ = jax.jit(make_train_step(task, seed=0, average_decay=0.75))(state, batch)
    expected = 0.75 * before + 0.25 * state.params["head"]["bias"]
    np.testing.assert_allclose(state.averages["head"]["bias"], expected, rtol=1e-6)
    assert weights_of(task, state) is state.averages
    without = create_state(task, 0)
    assert without.averages is None
    assert weights_of(task, without) is without.params


def test_an_average_copies_integers():
    old = {"weight": jnp.float32(1), "count": jnp.int32(4)}
    new = {"weight": jnp.float32(3), "count": jnp.int32(7)}
    found = update_average(old, new, 0.75)
    assert found == {"weight": 1.5, "count": 7}
    assert found["count"].dtype == jnp.int32


def test_every_step_has_its_own_keys_and_a_repeated_step_the_same():
    for which in (0, 1):
        draws = [jax.random.bits(step_keys(0, jnp.int32(step))[which]) for step in (0, 1, 0)]
        assert draws[0] == draws[2] != draws[1]
        assert draws[0] != jax.random.bits(step_keys(1, jnp.int32(0))[which])


class StepVariants(chex.TestCase):
    """The step gives the same result with jit, without jit and with pmap."""

    @chex.variants(with_jit=True, without_jit=True, with_pmap=True)
    def test_a_step_of_gradient_descent(self):
        task = plain_task(rate=0.5)
        state = create_state(task, 0)
        batch = {
            "image": np.random.default_rng(0).integers(0, 256, (4, 4, 4, 3), np.uint8),
            "label": np.array([0, 1, 2, 0], np.int32),
        }
        after, metrics = self.variant(make_train_step(task, seed=0))(state, batch)

        def loss(params):
            inputs = task.prepare(jax.random.key(9), batch)  # nothing is drawn
            return task.phases[0].loss(params, {}, jax.random.key(9), inputs)[0]

        value, grads = jax.value_and_grad(loss)(state.params)
        expected = jax.tree.map(lambda p, g: p - 0.5 * g, state.params, grads)
        chex.assert_trees_all_close(after.params, expected, rtol=1e-5, atol=1e-6)
        norm = optax.global_norm(grads)
        for name, wanted in {"loss": value, "grad_norm": norm, "learning_rate": 0.5}.items():
            np.testing.assert_allclose(metrics[name], wanted, rtol=1e-5)
        assert int(np.ravel(after.step)[0]) == 1


def test_a_whole_run_traces_each_of_its_steps_once(tiny, tmp_path, monkeypatch):
    """Two epochs of training and validation, whose last batch is short."""
    for name in ("make_train_step", "make_score_step"):
        make = getattr(steps, name)

        def counted(*args, make=make, **options):
            return chex.assert_max_traces(make(*args, **options), n=1)

        monkeypatch.setattr(steps, name, counted)
        monkeypatch.setattr(evaluate, name, counted, raising=False)
    assert train_jax.main([*tiny, "--out", str(tmp_path / "run")]) == 0


# The plan.


@pytest.mark.parametrize(("examples", "batch_size", "epochs"), [(10, 4, 3), (12, 4, 2), (5, 8, 4)])
def test_epochs_end_when_their_examples_are_seen(examples, batch_size, epochs):
    plan = Plan(examples, batch_size, epochs)
    assert plan.total_steps == -(-examples * epochs // batch_size)
    ends = [step for step in range(1, plan.total_steps + 1) if plan.validates(step)]
    assert ends == sorted({-(-examples * e // batch_size) for e in range(1, epochs + 1)})
    assert plan.epoch_of(1) == 1
    if batch_size <= examples:
        assert plan.epoch_of(plan.total_steps) == epochs


def test_every_third_epoch_and_the_last_are_validated():
    plan = Plan(examples=10, batch_size=4, epochs=7, val_every_epochs=3)
    assert [s for s in range(1, plan.total_steps + 1) if plan.validates(s)] == [8, 15, 18]
    plan = Plan(examples=5, batch_size=64, epochs=20, val_every_epochs=3)  # many epochs in a step
    assert [s for s in range(1, plan.total_steps + 1) if plan.validates(s)] == [1, 2]


def test_fit_logs_at_the_configured_interval_and_at_every_epochs_end():
    plan = Plan(examples=10, batch_size=4, epochs=2)  # 5 steps; epochs end at 3 and 5
    logged, ended = [], []

    def step(state, batch):
        metrics = {"loss": jnp.float32(batch), "learning_rate": jnp.float32(0.1)}
        return state._replace(step=state.step + 1), metrics

    state, compile_sec = fit(
        create_state(plain_task(), 0),
        step,
        iter(range(100)),
        plan,
        log_every_steps=2,
        on_log=lambda step, metrics: logged.append((step, metrics["train/loss"])),
        on_epoch=lambda step, state: ended.append((step, int(state.step))) or state,
    )
    assert logged == [(2, 1.0), (3, 2.0), (4, 3.0), (5, 4.0)]  # each with its own batch
    assert ended == [(3, 3), (5, 5)]
    assert int(state.step) == 5
    assert compile_sec > 0


def test_at_most_a_few_steps_are_dispatched_ahead(monkeypatch):
    array = type(jnp.float32(0))
    wait, handed, done = array.block_until_ready, [], [0]

    def note(loss):
        done.append(int(wait(loss)))
        return loss

    monkeypatch.setattr(array, "block_until_ready", note)

    def step(state, batch):
        handed.append(batch)
        assert batch - max(done) <= STEPS_AHEAD + 1
        metrics = {"loss": jnp.float32(batch), "learning_rate": jnp.float32(0.1)}
        return state._replace(step=state.step + 1), metrics

    fit(
        create_state(plain_task(), 0),
        step,
        iter(range(1, 101)),
        Plan(examples=100, batch_size=1, epochs=1),
        log_every_steps=100,
        on_log=lambda step, metrics: None,
        on_epoch=lambda step, state: state,
    )
    assert handed == list(range(1, 101))
    assert set(range(1, 101 - STEPS_AHEAD)) <= set(done)


# Scoring.


@pytest.mark.parametrize(("batch_size", "count_devices"), [(1, 1), (7, 1), (4, 4), (64, 4)])
def test_every_example_is_scored_once_whatever_the_batch_size(batch_size, count_devices):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 7).astype(np.int32)
    pixels = rng.integers(0, 256, (20, 4, 4, 3), np.uint8)
    split = Split(pixels, rng.permutation(20)[:7], labels, tuple("abcdefg"))
    devices = Devices(Mesh(np.asarray(jax.devices()[:count_devices]), (AXIS,)), "jit")
    config = Config(data=DataConfig(mean=(0.5,) * 3, std=(0.2,) * 3))
    task = make_classification(MODEL, *make_optimizer(config.optim, 1), config)
    score = make_score(task, devices, batch_size, seed=0)
    found = score(devices.replicate(params()), split)
    images = (pixels[split.rows] / 255 - 0.5) / 0.2
    logits = jax.jit(MODEL.apply)({"params": params()}, jnp.asarray(images, jnp.float32))
    expected = compute_metrics(count(logits, labels, np.ones(7, bool)))
    assert found.metrics == pytest.approx(expected, rel=1e-5)
    assert found.counts.confusion.sum() == 7
    probabilities = np.asarray(jax.nn.softmax(logits))
    np.testing.assert_array_equal(found.outputs.label, logits.argmax(1))
    np.testing.assert_allclose(found.outputs.confidence, probabilities.max(1), rtol=1e-5)
    own = probabilities[np.arange(7), labels]
    np.testing.assert_allclose(found.outputs.label_probability, own, rtol=1e-5)


def test_counts_of_parts_add_up_to_the_counts_of_the_whole():
    logits = jax.random.normal(jax.random.key(0), (30, 4)) * 5
    labels = jnp.arange(30) % 4
    whole = count(logits, labels, jnp.ones(30, bool))
    parts = count(logits[:0], labels[:0], jnp.ones(0, bool))
    for rows in (slice(0, 11), slice(11, 30)):
        part = count(logits[rows], labels[rows], jnp.ones(rows.stop - rows.start, bool))
        parts = jax.tree.map(jnp.add, parts, part)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), parts, whole)


def test_metrics_of_nothing_are_refused():
    with pytest.raises(ValueError, match="no example was counted"):
        compute_metrics(count(jnp.zeros((1, 3)), jnp.zeros(1, jnp.int32), jnp.zeros(1, bool)))


# Checkpoints.


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
    jax.tree.map(np.testing.assert_array_equal, found, expected)
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


def three_checkpoints(tmp_path, scores=((0.9, 3.0), (0.9, 2.0), (0.5, 1.0))):
    """States of steps 1 to 3 whose arrays all differ, with their (accuracy, loss)."""
    task = make_classification(MODEL, *make_optimizer(OptimConfig(), 10), Config())
    state = create_state(task, 0, average=True)
    checkpoints = Checkpoints(
        tmp_path / "checkpoints", task.monitor, keep=3, warn=lambda line: None
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
    jax.tree.map(np.testing.assert_array_equal, found[1].weights, state.averages)
    newest = list(ranked_weights(tmp_path / "checkpoints", None, warnings.append))
    assert [each.step for each in newest] == [4, 3, 2]
    assert not warnings
    shutil.rmtree(tmp_path / "checkpoints" / "2" / "averages")
    found = list(ranked_weights(tmp_path / "checkpoints", task.monitor, warnings.append))
    assert [each.step for each in found] == [3, 4]
    assert len(warnings) == 1


def test_restore_best_falls_back_to_the_newest_if_the_best_is_damaged(tmp_path):
    state, task, checkpoints = three_checkpoints(tmp_path)
    with checkpoints:
        checkpoints.wait()
        shutil.rmtree(tmp_path / "checkpoints" / "2" / "params")
        assert int(checkpoints.restore_best(like=state).step) == 3


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


def test_images_per_sec_excludes_compilation_validation_and_saving():
    def step(state, batch):
        if batch == 0:
            time.sleep(0.5)  # compilation
        time.sleep(0.01)
        metrics = {"loss": jnp.float32(batch), "learning_rate": jnp.float32(0.1)}
        return state._replace(step=state.step + 1), metrics

    rates = []
    fit(
        create_state(plain_task(), 0),
        step,
        iter(range(100)),
        Plan(examples=10, batch_size=2, epochs=4),
        log_every_steps=3,
        on_log=lambda step, metrics: rates.append(metrics["images_per_sec"]),
        on_epoch=lambda step, state: time.sleep(0.5) or state,
        on_save=lambda state: time.sleep(0.5),
        save_every_steps=2,
    )
    assert len(rates) > 5
    assert all(50 < rate <= 201 for rate in rates), rates  # 2 images in at least 10 ms


def test_images_per_sec_of_a_run_is_the_mean_rate_of_its_lines():
    lines = [
        {"step": 1, "train/loss": 1.0},  # compilation: no rate
        {"step": 11, "images_per_sec": 100.0, "train/loss": 1.0},
        {"step": 11, "val/loss": 1.0},
        {"step": 31, "images_per_sec": 50.0, "train/loss": 1.0},
    ]
    assert images_per_sec(lines) == pytest.approx(30 / (10 / 100 + 20 / 50))
    assert images_per_sec([]) == 0


def test_warm_up_is_a_fraction_of_the_steps_unless_a_number_is_given():
    assert warmup_steps(OptimConfig(warmup=0.1), 250) == 25
    assert warmup_steps(OptimConfig(warmup=0.1, warmup_steps=7), 250) == 7
    assert warmup_steps(OptimConfig(warmup=0.1, warmup_steps=0), 250) == 0
    rate = make_schedule(OptimConfig(lr=1.0, warmup=0.1), 250)
    assert float(rate(4)) == pytest.approx(0.2)


def test_wilsons_interval_equals_scipys():
    for hits, total in ((0, 5), (8, 10), (359, 359), (97, 370)):
        expected = scipy.stats.binomtest(hits, total).proportion_ci(0.95, "wilson")
        assert wilson(hits, total) == pytest.approx(tuple(expected), abs=1e-6)


def test_shapes_that_do_not_fit_are_refused_as_they_are_traced():
    """Without the type checks of the tests: these are for whoever calls the core."""
    script = """
import jax, jax.numpy as jnp
from jaxvit.augment.pipeline import make_augment
from jaxvit.config import AugmentConfig
from jaxvit.models.multi_head_attention import MultiHeadSelfAttention
from jaxvit.objectives.losses import soft_target_cross_entropy
from jaxvit.objectives.metrics import count
key = jax.random.key(0)
augment = make_augment(AugmentConfig(), (0.5,), (0.5,))
for call in (
    lambda: soft_target_cross_entropy(jnp.zeros((4, 3)), jnp.zeros((4, 1))),
    lambda: count(jnp.zeros((4, 3)), jnp.zeros(3, jnp.int32), jnp.ones(4, bool)),
    lambda: augment(key, jnp.zeros((4, 2, 2, 1), jnp.uint8), jnp.zeros((1, 3))),
    lambda: MultiHeadSelfAttention(8, 2).init(key, jnp.zeros((1, 5, 6))),
):
    try:
        jax.eval_shape(call)
    except AssertionError:
        print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["refused"] * 4


def test_grad_accum_steps_reaches_the_step(tiny, tmp_path, monkeypatch):
    asked, accumulate = [], steps.accumulate

    def noted(gradients, number):
        asked.append(number)
        return accumulate(gradients, number)

    monkeypatch.setattr(steps, "accumulate", noted)
    args = [*tiny, "--out", str(tmp_path / "run"), "--epochs", "1", "--grad-accum-steps", "2"]
    assert train_jax.main(args) == 0
    assert set(asked) == {2}


def test_saving_says_whether_the_state_is_the_best(tmp_path):
    state = create_state(plain_task(), 0)
    with Checkpoints(tmp_path / "checkpoints", (("accuracy", True),)) as checkpoints:
        best = [
            checkpoints.save(state._replace(step=jnp.int32(step)), {"val/accuracy": accuracy})
            for step, accuracy in ((1, 0.5), (2, 0.9), (3, 0.7))
        ]
    assert best == [True, True, False]
