"""The plan of a run, its steps, the averaged parameters, and scoring."""

import itertools
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from jax.sharding import Mesh

import train_jax
from jaxvit.config import Config, DataConfig
from jaxvit.data.decoded import Split
from jaxvit.objectives.metrics import compute_metrics, count, wilson
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.runtime.devices import AXIS, Devices
from jaxvit.tasks.classification import make_classification
from jaxvit.training import evaluate, steps
from jaxvit.training.evaluate import make_score
from jaxvit.training.fit import STEPS_AHEAD, Plan, fit
from jaxvit.training.lr_finder import find_rate
from jaxvit.training.state import create_state, weights_of
from jaxvit.training.steps import make_train_step, step_keys
from tests.tiny_model import MODEL, params, plain_task


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

        value, grads = jax.jit(jax.value_and_grad(loss))(state.params)
        expected = jax.tree.map(lambda p, g: p - 0.5 * g, state.params, grads)
        chex.assert_trees_all_close(after.params, expected, rtol=1e-5, atol=1e-6)
        norm = optax.global_norm(grads)
        for name, wanted in {"loss": value, "grad_norm": norm, "learning_rate": 0.5}.items():
            np.testing.assert_allclose(metrics[name], wanted, rtol=1e-5)
        assert int(np.ravel(after.step)[0]) == 1


def test_a_whole_run_traces_each_of_its_steps_once(tiny, tmp_path, monkeypatch):
    """Two epochs of training and validation, whose last batch is short."""
    made = []
    for name in ("make_train_step", "make_score_step"):
        make = getattr(steps, name)

        def counted(*args, make=make, name=name, **options):
            made.append(name)
            return chex.assert_max_traces(make(*args, **options), n=1)

        monkeypatch.setattr(steps, name, counted)
        monkeypatch.setattr(evaluate, name, counted, raising=False)
    assert train_jax.main([*tiny, "--out", str(tmp_path / "run")]) == 0
    assert sorted(made) == ["make_score_step", "make_train_step"]


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
    counted = jax.jit(count)
    whole = counted(logits, labels, jnp.ones(30, bool))
    parts = counted(logits[:0], labels[:0], jnp.ones(0, bool))
    for rows in (slice(0, 11), slice(11, 30)):
        part = counted(logits[rows], labels[rows], jnp.ones(rows.stop - rows.start, bool))
        parts = jax.tree.map(jnp.add, parts, part)
    chex.assert_trees_all_close(parts, whole, rtol=1e-5)


def test_metrics_of_nothing_are_refused():
    with pytest.raises(ValueError, match="no example was counted"):
        compute_metrics(count(jnp.zeros((1, 3)), jnp.zeros(1, jnp.int32), jnp.zeros(1, bool)))


def test_images_per_sec_excludes_compilation_validation_and_saving(monkeypatch):
    now = 0.0

    def takes(seconds):
        nonlocal now
        now += seconds

    def step(state, batch):
        takes(0.51 if batch == 0 else 0.01)  # the first one compiles
        metrics = {"loss": jnp.float32(batch), "learning_rate": jnp.float32(0.1)}
        return state._replace(step=state.step + 1), metrics

    monkeypatch.setattr("jaxvit.training.fit.time.perf_counter", lambda: now)
    rates = []
    _, compile_sec = fit(
        create_state(plain_task(), 0),
        step,
        iter(range(100)),
        Plan(examples=10, batch_size=2, epochs=4),
        log_every_steps=3,
        on_log=lambda step, metrics: rates.append(metrics["images_per_sec"]),
        on_epoch=lambda step, state: takes(0.5) or state,
        on_save=lambda state: takes(0.5),
        save_every_steps=2,
    )
    assert len(rates) > 5
    assert rates == pytest.approx([200] * len(rates))  # 2 images in 10 ms
    assert compile_sec == pytest.approx(0.51)


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


@pytest.mark.slow
def test_grad_accum_steps_reaches_the_step(tiny, tmp_path, monkeypatch):
    asked, accumulate = [], steps.accumulate

    def noted(gradients, number):
        asked.append(number)
        return accumulate(gradients, number)

    monkeypatch.setattr(steps, "accumulate", noted)
    args = [*tiny, "--out", str(tmp_path / "run"), "--epochs", "1", "--grad-accum-steps", "2"]
    assert train_jax.main(args) == 0
    assert set(asked) == {2}


def test_the_learning_rate_test_ends_where_the_loss_explodes():
    losses = itertools.chain([2.0] * 30, itertools.repeat(1e4))
    state = create_state(plain_task(), 0)
    found = find_rate(state, lambda state, _: (state, {"loss": next(losses)}), iter([{}] * 200))
    assert found.diverged
    assert len(found.losses) == len(found.rates) < 40


def test_no_more_steps_are_in_flight_than_did_not_hang():
    assert 2 <= STEPS_AHEAD <= 16  # with 32, 3 of 4 runs on a loaded machine hung
