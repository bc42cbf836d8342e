"""The same step on one device, on four under jit, and on four under pmap."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

from jaxvit.config import AugmentConfig, Config, DataConfig, OptimConfig, ParallelConfig
from jaxvit.errors import UserError
from jaxvit.models.transformer import VisionTransformer
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.runtime.devices import AXIS, Devices, make_devices
from jaxvit.tasks.classification import make_classification
from jaxvit.training.state import create_state
from jaxvit.training.steps import compile_train_step, make_train_step, step_keys
from jaxvit.training.task import Phase
from tests.toy_tasks import blank_task

HALVES = DataConfig(mean=(0.5,) * 3, std=(0.2,) * 3)
PLAIN = AugmentConfig()
EVERYTHING = AugmentConfig(
    crop_scale=(0.5, 1.0),
    flip_p=0.5,
    cutout_holes=1,
    cutout_length=3,
    mixup_alpha=0.4,
    cutmix_alpha=1.0,
)
ON_PIXELS = AugmentConfig(pad=1, rotate=20, trivial=True, contrast=0.3, hue=0.1, grey_p=0.3)


def on(num_devices: int, mode: str = "jit", shard_params: bool = False) -> Devices:
    assert len(jax.devices()) >= num_devices, "conftest.py asks XLA for four emulated devices"
    return Devices(Mesh(np.asarray(jax.devices()[:num_devices]), (AXIS,)), mode, shard_params)


@functools.cache
def gradients_and_losses(
    num_devices: int,
    mode: str,
    augment: AugmentConfig,
    dropout: float,
    shard_params: bool = False,
    grad_accum_steps: int = 1,
):
    """The first gradient (SGD with rate 1 leaves it in the params) and three losses."""
    devices = on(num_devices, mode, shard_params)
    model = VisionTransformer(
        img_size=8, patch_size=4, num_classes=5, embed_dim=16, num_heads=2, num_layers=1,
        dropout=dropout,
    )  # fmt: skip
    config = Config(
        seed=3, grad_accum_steps=grad_accum_steps, augment=augment, data=HALVES,
        optim=OptimConfig(ema_decay=0.9),
    )  # fmt: skip
    task = make_classification(model, optax.sgd(1.0), optax.constant_schedule(1.0), config)
    params = create_state(task, 0).params
    train_step = compile_train_step(task, devices, config)
    state = devices.create(lambda: create_state(task, 0))
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(0, 256, (16, 8, 8, 3), np.uint8),
        "label": rng.integers(0, 5, 16).astype(np.int32),
    }
    losses, after = [], None
    for _ in range(3):
        state, metrics = train_step(state, devices.place_batch(batch))
        losses.append(float(metrics["loss"]))
        after = after or jax.device_get(state.params)
    assert int(state.step) == 3
    return jax.tree.map(lambda a, b: np.asarray(a - b), params, after), losses


def assert_same(one, other):
    chex.assert_trees_all_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_four_devices_give_the_gradients_and_losses_of_one(mode):
    """With every augmentation on: partners are found across devices."""
    expected = gradients_and_losses(1, "jit", EVERYTHING, dropout=0.0)
    assert_same(gradients_and_losses(4, mode, EVERYTHING, dropout=0.0), expected)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_four_devices_augment_pixels_as_one(mode):
    expected = gradients_and_losses(1, "jit", ON_PIXELS, dropout=0.0)
    assert_same(gradients_and_losses(4, mode, ON_PIXELS, dropout=0.0), expected)


def test_sharded_parameters_give_the_gradients_and_losses_of_one_device():
    expected = gradients_and_losses(1, "jit", EVERYTHING, dropout=0.0)
    assert_same(gradients_and_losses(4, "jit", EVERYTHING, 0.0, shard_params=True), expected)


def test_with_sharded_parameters_the_batch_is_not_moved():
    """Without constraints XLA gathers the images and shards the layers' matmuls."""
    devices = on(4, "jit", shard_params=True)
    model = VisionTransformer(
        img_size=8, patch_size=4, num_classes=5, embed_dim=16, num_heads=2, num_layers=1
    )
    task = make_classification(model, *make_optimizer(OptimConfig(), 10), Config(data=HALVES))
    state = devices.create(lambda: create_state(task, 0))
    examples = 24  # no parameter has an axis of this length
    batch = {
        "image": np.zeros((examples, 8, 8, 3), np.uint8),
        "label": np.zeros(examples, np.int32),
    }
    step = compile_train_step(task, devices, Config())
    compiled = step.lower(state, devices.place_batch(batch)).compile().as_text()
    moved = re.findall(r"= \S*\[([0-9,]*)\]\S* (all-gather|all-to-all)\(", compiled)
    assert any(kind == "all-gather" for _, kind in moved)  # of the parameters
    assert not [shape for shape, kind in moved if shape.startswith(f"{examples},")]
    assert not [kind for _, kind in moved if kind == "all-to-all"]


def bytes_on(device: jax.Device, tree) -> int:
    return sum(
        shard.data.nbytes
        for leaf in jax.tree.leaves(tree)
        for shard in leaf.addressable_shards
        if shard.device == device
    )


def test_the_state_sharded_over_four_devices_takes_a_quarter_of_the_memory_on_each():
    """Before and after the first step. The state includes the average and Adam's moments."""
    model = VisionTransformer(
        img_size=8, patch_size=4, num_classes=5, embed_dim=16, num_heads=2, num_layers=1
    )
    config = Config(data=HALVES, optim=OptimConfig(ema_decay=0.9))
    task = make_classification(model, *make_optimizer(config.optim, 10), config)
    batch = {"image": np.zeros((4, 8, 8, 3), np.uint8), "label": np.zeros(4, np.int32)}
    sizes = {}
    for shard_params in (False, True):
        devices = on(4, "jit", shard_params)
        state = devices.create(lambda: create_state(task, 0, average=True))
        before = [bytes_on(device, state) for device in devices.mesh.devices]
        state, _ = compile_train_step(task, devices, config)(state, devices.place_batch(batch))
        after = [bytes_on(device, state) for device in devices.mesh.devices]
        assert before == after
        assert len(set(after)) == 1
        sizes[shard_params] = after[0]
    assert 0.25 <= sizes[True] / sizes[False] < 0.27


@pytest.mark.parametrize(
    ("num_devices", "mode", "augment", "steps"),
    [
        (1, "jit", EVERYTHING, 4),  # even with Mixup: the batch is augmented before it is split
        (4, "jit", PLAIN, 2),
        (4, "jit", PLAIN, 4),
        (4, "pmap", PLAIN, 4),
    ],
)
def test_micro_batches_give_the_gradients_and_losses_of_the_batch(
    num_devices, mode, augment, steps
):
    expected = gradients_and_losses(1, "jit", augment, dropout=0.0)
    found = gradients_and_losses(num_devices, mode, augment, 0.0, grad_accum_steps=steps)
    assert_same(found, expected)


def test_under_jit_dropout_masks_do_not_depend_on_the_number_of_devices():
    expected = gradients_and_losses(1, "jit", PLAIN, dropout=0.3)
    assert_same(gradients_and_losses(4, "jit", PLAIN, dropout=0.3), expected)


def test_under_pmap_every_device_has_its_own_key():
    """The loss reports a draw from its key: the mean over the devices shows their four keys."""

    def loss(params, extra, key, inputs):
        return params["a"].sum(), (extra, {"low": jax.random.uniform(key), "index": inputs.mean()})

    task = blank_task(
        init=lambda key: ({"a": jnp.zeros(1)}, {}),
        prepare=lambda key, batch: batch["label"],
        phases=(Phase(loss, optax.sgd(1.0), optax.constant_schedule(1.0)),),
    )
    draws = []
    for num_devices in (1, 4):
        devices = on(num_devices, "pmap")
        state = devices.replicate(create_state(task, 0))
        batch = {"image": np.zeros((4, 1), np.float32), "label": np.arange(4, dtype=np.float32)}
        step = compile_train_step(task, devices, Config(seed=5))
        _, metrics = step(state, devices.place_batch(batch))
        draws.append(float(metrics["low"]))
        assert metrics["index"] == 1.5  # the mean over the devices' own shards
    key = step_keys(5, jnp.int32(0))[1]
    uniforms = [float(jax.random.uniform(jax.random.fold_in(key, index))) for index in range(4)]
    assert draws == pytest.approx([uniforms[0], np.mean(uniforms)])


def test_each_device_holds_its_shard_of_a_batch():
    batch = on(4).place_batch({"label": np.arange(8, dtype=np.int32)})
    shares = [shard.data.tolist() for shard in batch["label"].addressable_shards]
    assert shares == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_a_batch_that_the_devices_do_not_divide_is_refused():
    assert make_devices(Config(batch_size=8)).count == 4
    with pytest.raises(UserError, match="--batch-size 10 does not divide over 4 devices"):
        make_devices(Config(batch_size=10))
    with pytest.raises(UserError, match="8 does not divide in 4 parts .* a multiple of 16"):
        make_devices(Config(batch_size=8, grad_accum_steps=4))


def test_the_step_donates_the_state():
    model = VisionTransformer(
        img_size=4, patch_size=4, num_classes=2, embed_dim=4, num_heads=1, num_layers=1
    )
    task = make_classification(model, *make_optimizer(OptimConfig(), 10), Config())
    devices = on(4)
    state = devices.replicate(create_state(task, 0))
    batch = {"image": np.zeros((4, 4, 4, 3), np.uint8), "label": np.zeros(4, np.int32)}
    compile_train_step(task, devices, Config())(state, devices.place_batch(batch))
    assert state.params["cls_token"].is_deleted()


def test_every_micro_batch_has_its_own_key_and_receives_extra_from_the_previous_one():
    def loss(params, extra, key, inputs):
        metrics = {"low": jax.random.uniform(key), "index": inputs.mean()}
        return params["a"].sum(), (extra + 1, metrics)

    task = blank_task(
        init=lambda key: ({"a": jnp.zeros(1)}, jnp.int32(0)),
        prepare=lambda key, batch: batch["label"],
        phases=(Phase(loss, optax.sgd(1.0), optax.constant_schedule(1.0)),),
    )
    batch = {"label": np.arange(6, dtype=np.float32)}
    step = make_train_step(task, seed=5, grad_accum_steps=3)
    after, metrics = jax.jit(step)(create_state(task, 0), batch)
    key = step_keys(5, jnp.int32(0))[1]
    uniforms = [float(jax.random.uniform(jax.random.fold_in(key, part))) for part in range(3)]
    assert float(metrics["low"]) == pytest.approx(np.mean(uniforms))
    assert float(metrics["index"]) == 2.5
    assert int(after.extra) == 3
    assert float(after.params["a"][0]) == -1  # the mean of the gradients, not their sum


def test_the_configured_mode_and_sharding_are_those_of_the_devices():
    for mode, shard_params in (("jit", False), ("jit", True), ("pmap", False)):
        devices = make_devices(Config(batch_size=8, parallel=ParallelConfig(mode, shard_params)))
        assert (devices.mode, devices.shard_params) == (mode, shard_params)
