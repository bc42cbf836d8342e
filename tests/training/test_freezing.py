"""A frozen part keeps its bits, and has no gradient, no moments and no stored activations."""

import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

import train_jax
from jaxvit.config import AugmentConfig, Config, DataConfig, OptimConfig
from jaxvit.models.transformer import VisionTransformer
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.runs.directory import RunDirectory
from jaxvit.runtime.devices import AXIS, Devices
from jaxvit.tasks.classification import make_classification
from jaxvit.training.state import create_state
from jaxvit.training.steps import compile_train_step, make_gradients
from jaxvit.training.task import Phase
from tests.toy_tasks import blank_task

LAYERS = 3
MODEL = VisionTransformer(
    img_size=8, patch_size=4, num_classes=5, embed_dim=16, num_heads=2, num_layers=LAYERS,
    dropout=0.0,
)  # fmt: skip
FROZEN = {
    "backbone": {"layers_0", "layers_1", "layers_2", "norm"},
    "2 layers": {"layers_0", "layers_1"},
}
EMBEDDINGS = {"patch_embedding", "cls_token", "positional_embedding"}
MODES = {"one": (1, "jit", False), "jit": (4, "jit", False), "pmap": (4, "pmap", False),
         "sharded": (4, "jit", True)}  # fmt: skip


def task_and_config(freeze: str, **options):
    config = Config(
        seed=3,
        augment=AugmentConfig(mixup_alpha=0.4),
        data=DataConfig(mean=(0.5,) * 3, std=(0.2,) * 3),
        optim=OptimConfig(freeze=freeze, lr=0.01, ema_decay=0.9, layer_decay=0.5, head_lr=3.0),
        **options,
    )
    return make_classification(MODEL, *make_optimizer(config.optim, 10), config), config


def batch_of(size: int) -> dict:
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (size, 8, 8, 3), np.uint8),
        "label": rng.integers(0, 5, size).astype(np.int32),
    }


def trained(freeze: str, how: str = "one", grad_accum_steps: int = 1):
    """The states before and after three steps, and the last loss."""
    count, mode, shard_params = MODES[how]
    devices = Devices(Mesh(np.asarray(jax.devices()[:count]), (AXIS,)), mode, shard_params)
    task, config = task_and_config(freeze, grad_accum_steps=grad_accum_steps)
    step = compile_train_step(task, devices, config)
    state = devices.create(lambda: create_state(task, 0, average=True))
    before = jax.device_get(state)
    for _ in range(3):
        state, metrics = step(state, devices.place_batch(batch_of(16)))
    return before, jax.device_get(state), float(metrics["loss"])


def is_frozen(path, freeze: str) -> bool:
    names = {entry.key for entry in path}
    return bool(names & (FROZEN[freeze] | EMBEDDINGS))


@pytest.mark.parametrize("how", MODES)
@pytest.mark.parametrize("freeze", FROZEN)
def test_frozen_leaves_keep_their_bits_and_the_others_do_not(freeze, how):
    """Also in the average, where a mean of equal numbers would be rounded."""
    before, after, _ = trained(freeze, how)
    for old, new in ((before.params, after.params), (before.averages, after.averages)):
        for (path, x), y in zip(jax.tree.leaves_with_path(old), jax.tree.leaves(new), strict=True):
            assert np.array_equal(x, y) == is_frozen(path, freeze), jax.tree_util.keystr(path)


@pytest.mark.slow
@pytest.mark.parametrize("freeze", FROZEN)
def test_every_mode_gives_the_same_parameters(freeze):
    _, expected, loss = trained(freeze)
    for how in ("jit", "pmap", "sharded"):
        _, found, found_loss = trained(freeze, how)
        assert found_loss == pytest.approx(loss, rel=1e-5)
        same(found.params, expected.params)
    _, found, _ = trained(freeze, "jit", grad_accum_steps=2)
    same(found.params, expected.params)


def same(found, expected):
    # The bias of the keys has a gradient that is rounding, and Adam makes full steps of it.
    jax.tree.map_with_path(
        lambda path, a, b: (
            path[-2:] == (jax.tree_util.DictKey("qkv"), jax.tree_util.DictKey("bias"))
            or np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
        ),
        found,
        expected,
    )


@pytest.mark.parametrize("freeze", FROZEN)
def test_the_optimiser_and_the_gradient_hold_only_what_is_trained(freeze):
    task, _ = task_and_config(freeze)
    (phase,) = task.phases
    state = create_state(task, 0)
    kept = [
        leaf.shape
        for path, leaf in jax.tree.leaves_with_path(state.params)
        if not is_frozen(path, freeze)
    ]
    adam = next(s for s in state.opt_state[0] if isinstance(s, optax.ScaleByAdamState))
    inputs = jax.eval_shape(task.prepare, jax.random.key(0), batch_of(4))
    grads, _, _ = jax.eval_shape(make_gradients(phase), state.params, {}, jax.random.key(0), inputs)
    for tree in (adam.mu, adam.nu, grads):
        assert [leaf.shape for leaf in jax.tree.leaves(tree)] == kept


def test_a_frozen_part_has_the_gradients_of_the_rest_that_it_has_unfrozen():
    whole, _ = task_and_config("none")
    state = create_state(whole, 0)
    key = jax.random.key(1)
    inputs = whole.prepare(key, batch_of(4))
    expected, _, _ = jax.jit(make_gradients(whole.phases[0]))(state.params, {}, key, inputs)
    for freeze in FROZEN:
        phase = task_and_config(freeze)[0].phases[0]
        found, _, _ = jax.jit(make_gradients(phase))(state.params, {}, key, inputs)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
            found,
            phase.trained(expected),
        )


@pytest.mark.slow
def test_frozen_layers_store_no_activations_and_save_memory():
    """Temporary memory of the compiled step, which is mostly what the backward pass needs."""
    devices = Devices(Mesh(np.asarray(jax.devices()[:1]), (AXIS,)), "jit")
    sizes = []
    for freeze in ("none", "1 layer", "2 layers", "backbone"):
        task, config = task_and_config(freeze)
        state = devices.create(lambda task=task: create_state(task, 0))
        batch = devices.place_batch(batch_of(256))
        compiled = compile_train_step(task, devices, config).lower(state, batch).compile()
        sizes.append(compiled.memory_analysis().temp_size_in_bytes)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[1] < 0.85 * sizes[0]
    assert sizes[2] < 0.6 * sizes[0]
    assert sizes[3] < 0.4 * sizes[0]


def test_a_phase_trains_any_part_of_nested_dicts():
    """A path ends at an array or at a dict, whose whole content it means."""
    params = {"a": {"x": {"k": 1, "b": 2}, "y": 3}, "c": {"z": 4}, "d": 5}
    phase = Phase(None, None, None, trains=frozenset({("a", "x"), ("d",)}))
    assert phase.trained(params) == {"a": {"x": {"k": 1, "b": 2}}, "d": 5}
    merged = phase.with_trained(params, {"a": {"x": {"k": 10, "b": 20}}, "d": 50})
    assert merged == {"a": {"x": {"k": 10, "b": 20}, "y": 3}, "c": {"z": 4}, "d": 50}
    assert list(merged) == list(params)
    assert params["d"] == 5
    assert merged["c"] is params["c"]
    whole = Phase(None, None, None)
    assert whole.with_trained(params, whole.trained(params)) is params
    with pytest.raises(KeyError, match="nothing"):
        Phase(None, None, None, trains=frozenset({("a", "nothing")})).trained(params)


def test_phases_that_train_paths_are_told_apart_by_their_numbers():
    def loss(params, extra, key, inputs):
        return params["a"]["x"] * params["a"]["y"], (extra, {})

    def phase(key: str) -> Phase:
        paths = frozenset({("a", key)})
        return Phase(loss, optax.sgd(1.0), optax.constant_schedule(1.0), paths)

    task = blank_task(
        init=lambda key: ({"a": {"x": jnp.float32(2), "y": jnp.float32(3)}}, {}),
        phases=(phase("x"), phase("y")),
    )
    devices = Devices(Mesh(np.asarray(jax.devices()[:1]), (AXIS,)), "jit")
    state = devices.create(lambda: create_state(task, 0))
    step = compile_train_step(task, devices, Config())
    state, metrics = step(state, {"image": jnp.zeros((1, 1))})
    assert {"loss/0", "loss/1", "grad_norm/0", "grad_norm/1"} <= metrics.keys()
    assert state.params["a"] == {"x": -1, "y": 4}  # x - 3, then y - (-1)


OPTIONS = ["--epochs", "2", "--model.num-layers", "2", "--optim.freeze", "1 layer",
           "--optim.layer-decay", "0.7", "--optim.name", "sgd", "--optim.nesterov",
           "--optim.schedule", "step", "--optim.step-every-epochs", "1"]  # fmt: skip


@pytest.mark.slow
def test_a_run_with_frozen_layers_resumes_to_the_same_bits(tiny, tmp_path, monkeypatch):
    """With layer-wise rates, SGD and a step schedule, from the command line."""
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    assert train_jax.main([*tiny, *OPTIONS, "--out", str(whole)]) == 0
    log = RunDirectory.log

    def log_and_stop(self, at, epoch, metrics):
        log(self, at, epoch, metrics)
        if at == 25 and "train/loss" in metrics:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "log", log_and_stop)
        assert train_jax.main([*tiny, *OPTIONS, "--out", str(parted)]) != 0
    assert not (parted / "summary.json").exists()
    assert train_jax.main([*tiny, *OPTIONS, "--out", str(parted)]) == 0
    one, other = (json.loads((path / "summary.json").read_text()) for path in (whole, parted))
    for key in ("params_sha256", "test/accuracy", "test/loss"):
        assert one[key] == other[key]
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    rates = {line["step"]: line["train/learning_rate"] for line in lines if "train/loss" in line}
    # 1,222 images in batches of 64: step 20 is the first whose examples are all of epoch 2.
    assert rates[15] == pytest.approx(4e-3)
    assert rates[25] == pytest.approx(0.7 * 4e-3)
