"""Runs of a ResNet: batch statistics in the step, in checkpoints, on devices and in commands."""

import json
from functools import partial
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict
from jax.sharding import Mesh
from safetensors.numpy import load_file
from sklearn.datasets import load_digits

import train_jax
from jaxvit.__main__ import main
from jaxvit.config import AugmentConfig, Config, DataConfig, OptimConfig
from jaxvit.data.datasets import load_dataset
from jaxvit.data.loader import train_batches
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.saved_run import classify, load_run, read_config
from jaxvit.models.resnet import ResNet, make_resnet
from jaxvit.models.resnet_with_attention import ResNetWithAttention
from jaxvit.runs.recorder import Recorder
from jaxvit.runtime.devices import AXIS, Devices
from jaxvit.tasks.classification import make_classification
from jaxvit.tasks.configured import make_task
from jaxvit.training.evaluate import make_refresh
from jaxvit.training.state import create_state
from jaxvit.training.steps import compile_train_step

MEAN, STD = 0.305, 0.376
ARGUMENTS = (
    "digits", "--model.name", "resnet18", "--model.stem", "cifar", "--model.width", "4",
    "--epochs", "2", "--seed", "3", "--log-every-steps", "1", "--batch-size", "48",
    "--augment.mixup-alpha", "0",
)  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory, _quick_compilation):
    root = tmp_path_factory.mktemp("resnets")
    train(root, "averaged")
    train(root, "plain", "--optim.ema-decay", "0")
    return root


def train(root, out: str, *more: str) -> dict:
    args = [*ARGUMENTS, "--out", str(root / out), "--data.cache-dir", str(root / "cache"), *more]
    assert train_jax.main(args) == 0
    return json.loads((root / out / "summary.json").read_text())


def scored_images(places) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and labels of the test split, from scikit-learn and the names in split.json."""
    digits = load_digits()
    names = json.loads((places / "plain" / "split.json").read_text())["test"]
    rows = [int(name.partition("/")[2]) for name in names]
    pixels = np.round(digits.images[rows] * (255 / 16)).astype(np.uint8)[..., None]
    return pixels, digits.target[rows]


@pytest.mark.parametrize("run", ["plain", "averaged"])
def test_what_a_run_reports_is_what_its_weights_and_running_statistics_give(places, run):
    pixels, labels = scored_images(places)
    weights = load_run(places / run).params
    model = make_resnet("resnet18", 10, stem="cifar", width=4, img_size=8, in_channels=1)
    images = jnp.asarray((pixels / 255 - MEAN) / STD, jnp.float32)
    logits = np.asarray(jax.jit(model.apply)(weights, images))
    losses = -np.asarray(jax.nn.log_softmax(logits))[np.arange(len(labels)), labels]
    summary = json.loads((places / run / "summary.json").read_text())
    assert summary["test/accuracy"] == pytest.approx((logits.argmax(-1) == labels).mean())
    assert summary["test/loss"] == pytest.approx(losses.mean(), rel=1e-4)
    parameters = jax.tree.leaves(weights["params"])
    assert summary["parameters"] == sum(leaf.size for leaf in parameters)


def test_statistics_move_from_where_they_begin_and_are_averaged_with_the_parameters(places):
    plain, averaged = (
        load_run(places / run).params["batch_stats"] for run in ("plain", "averaged")
    )
    for (path, moved), start in zip(
        flatten_dict(plain).items(), flatten_dict(averaged).values(), strict=True
    ):
        assert np.abs(moved - (1.0 if path[-1] == "var" else 0.0)).max() > 1e-3, path
        assert not np.array_equal(moved, start), path


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(places, monkeypatch):
    """Statistics are part of the checkpoint."""
    whole = train(places, "whole", "--checkpoint.every-steps", "14")

    class Killed(Exception):
        pass

    log, lines = Recorder._on_log, iter(range(100))

    def dies(self, step, metrics):
        if next(lines) == 30:
            raise Killed
        return log(self, step, metrics)

    monkeypatch.setattr(Recorder, "_on_log", dies)
    with pytest.raises(Killed):
        train(places, "killed", "--checkpoint.every-steps", "14")
    monkeypatch.undo()
    resumed = train(places, "killed", "--checkpoint.every-steps", "14", "--resume")
    assert resumed["params_sha256"] == whole["params_sha256"]
    found, expected = (load_run(places / run).params for run in ("killed", "whole"))
    for path, leaf in flatten_dict(expected).items():
        assert np.array_equal(flatten_dict(found)[path], leaf), path


@pytest.mark.parametrize(("count", "mode"), [(4, "jit"), (4, "pmap")])
def test_batch_statistics_are_those_of_the_whole_batch_on_all_devices(count, mode):
    batch = {
        "image": np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), np.uint8),
        "label": np.arange(16, dtype=np.int32) % 5,
    }

    def state_after(count: int, mode: str):
        devices = Devices(Mesh(np.asarray(jax.devices()[:count]), (AXIS,)), mode, False)
        config = Config(
            data=DataConfig(mean=(0.5,) * 3, std=(0.2,) * 3), augment=AugmentConfig(),
            optim=OptimConfig(ema_decay=0.9),
        )  # fmt: skip
        model = ResNet((1, 1, 1, 1), 8, 3, 5, "cifar", 8, devices.axis)
        tx, schedule = optax.sgd(0.1), optax.constant_schedule(0.1)
        task = make_classification(model, tx, schedule, config, axis=devices.axis)
        assert task.couples
        state = devices.create(partial(create_state, task, 0, True))
        step = compile_train_step(task, devices, config)
        for _ in range(3):
            state, metrics = step(state, devices.place_batch(batch))
        return jax.device_get((state.params, state.extra, state.averages, metrics["loss"]))

    one, many = state_after(1, "jit"), state_after(count, mode)
    for path, expected in jax.tree.leaves_with_path(one):
        found = dict(jax.tree.leaves_with_path(many))[path]
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-4, err_msg=str(path))


@pytest.mark.slow
def test_under_pmap_a_run_normalises_over_the_batch_of_all_devices(places):
    train(places, "pmap", "--parallel.mode", "pmap", "--optim.ema-decay", "0")
    losses = [
        [line["train/loss"] for line in map(json.loads, lines) if "train/loss" in line][:8]
        for lines in ((places / run / "metrics.jsonl").open() for run in ("plain", "pmap"))
    ]
    np.testing.assert_allclose(*losses, rtol=1e-3)


SWA = ("--optim.ema-decay", "0", "--optim.swa-start", "0.5", "--optim.swa-lr", "0.001",
       "--epochs", "4", "--checkpoint.keep", "5")  # fmt: skip


@pytest.mark.slow
def test_averaged_weights_are_scored_and_saved_with_statistics_of_their_own(places, monkeypatch):
    """The mean of the parameters at the ends of epochs 3 and 4; its statistics are no average."""
    seen = {}
    restore = Recorder._on_epoch

    def keeps(self, step, state):
        seen[step] = jax.device_get(state.params)
        return restore(self, step, state)

    monkeypatch.setattr(Recorder, "_on_epoch", keeps)
    summary = train(places, "swa", *SWA, "--select", "last")
    third, fourth = (flatten_dict(seen[step]) for step in sorted(seen)[2:])
    weights = load_run(places / "swa").params
    for path, leaf in flatten_dict(weights["params"]).items():
        np.testing.assert_allclose(leaf, (third[path] + fourth[path]) / 2, atol=1e-6)
    pixels, labels = scored_images(places)
    model = make_resnet("resnet18", 10, stem="cifar", width=4, img_size=8, in_channels=1)
    images = jnp.asarray((pixels / 255 - MEAN) / STD, jnp.float32)
    logits = np.asarray(jax.jit(model.apply)(weights, images))
    assert summary["test/accuracy"] == pytest.approx((logits.argmax(-1) == labels).mean())
    # The statistics are those of the training images under the run's own seed, computed anew.
    config = read_config(places / "swa")
    data = load_dataset(config.data, 8, 1)
    devices = Devices(Mesh(np.asarray(jax.devices()), (AXIS,)), "jit", False)
    refresh = make_refresh(make_task(config, data, 102, None), devices, seed=3)
    epoch = islice(train_batches(data.train, 48, 3), -(-len(data.train) // 48))
    emptied = weights | {"batch_stats": jax.tree.map(jnp.zeros_like, weights["batch_stats"])}
    expected = flatten_dict(refresh(devices.replicate(emptied), map(devices.place_batch, epoch)))
    for path, leaf in flatten_dict(weights).items():
        np.testing.assert_allclose(leaf, expected[path], rtol=1e-5, atol=1e-6, err_msg=str(path))


@pytest.mark.slow
def test_the_best_state_is_an_average(places):
    """Also where the averaged weights are worse than those before them."""
    summary = train(places, "swa_worse", *SWA[:4], "--optim.swa-lr", "0.3", *SWA[6:],
                    "--optim.swa-anneal-epochs", "0")  # fmt: skip
    lines = map(json.loads, (places / "swa_worse" / "metrics.jsonl").read_text().splitlines())
    losses = {line["epoch"]: line["val/loss"] for line in lines if "val/loss" in line}
    assert min(losses, key=losses.get) <= 2
    assert summary["best"]["epoch"] >= 3
    assert summary["scored_step"] == summary["best"]["step"]
    assert load_run(places / "swa_worse").step == summary["scored_step"]
    # Where the last state is scored, the best that is named is an average too.
    summary = train(places, "swa_last", *SWA[:4], "--optim.swa-lr", "0.3", *SWA[6:],
                    "--optim.swa-anneal-epochs", "0", "--select", "last")  # fmt: skip
    assert summary["best"]["epoch"] >= 3


@pytest.mark.slow
def test_of_equal_states_the_newest_is_the_best(places):
    """In the summary as in what is scored: frozen weights validate alike in every epoch."""
    summary = train(places, "equal", "--init.weights", str(places / "plain"), "--optim.ema-decay",
                    "0", "--optim.freeze", "backbone", "--optim.lr", "1e-12",
                    "--select", "last")  # fmt: skip
    lines = map(json.loads, (places / "equal" / "metrics.jsonl").read_text().splitlines())
    steps = {line["step"]: line["val/loss"] for line in lines if "val/loss" in line}
    assert len(steps) == 2
    assert len(set(steps.values())) == 1
    assert summary["best"]["step"] == summary["scored_step"] == max(steps)


@pytest.mark.slow
def test_a_run_killed_during_averaging_resumes_to_the_same_bits(places, monkeypatch):
    epochs = iter(range(10))
    whole = Recorder._on_epoch

    def dies(self, step, state):
        if next(epochs) == 3:
            raise KeyboardInterrupt
        return whole(self, step, state)

    expected = train(places, "swa_whole", *SWA)
    monkeypatch.setattr(Recorder, "_on_epoch", dies)
    with pytest.raises(KeyboardInterrupt):
        train(places, "swa_killed", *SWA)
    monkeypatch.undo()
    found = train(places, "swa_killed", *SWA, "--resume")
    assert found["params_sha256"] == expected["params_sha256"]
    runs = [flatten_dict(load_run(places / run).params) for run in ("swa_whole", "swa_killed")]
    assert all(np.array_equal(runs[0][path], runs[1][path]) for path in runs[0])


def test_a_frozen_backbone_keeps_its_weights_and_statistics(places):
    weights = ("--init.weights", str(places / "plain"), "--optim.ema-decay", "0")
    train(places, "frozen", *weights, "--optim.freeze", "backbone")
    before, after = (flatten_dict(load_run(places / run).params) for run in ("plain", "frozen"))
    for path, leaf in before.items():
        assert np.array_equal(after[path], leaf) == (path[1] != "fc"), path


ATTENTION = ("--model.attention", "graph", "--model.patch-size", "1", "--model.embed-dim", "8",
             "--model.num-heads", "1", "--model.dropout", "0.1")  # fmt: skip


@pytest.mark.slow
def test_a_block_of_attention_alone_trains_on_a_frozen_backbone(places):
    weights = ("--init.weights", str(places / "plain"), "--optim.ema-decay", "0")
    summary = train(places, "block", *ATTENTION, *weights, "--optim.freeze", "backbone")
    before, after = (flatten_dict(load_run(places / run).params) for run in ("plain", "block"))
    for (kind, *path), leaf in before.items():
        if path[0] != "fc":
            assert np.array_equal(after[(kind, "backbone", *path)], leaf), path
    pixels, labels = scored_images(places)
    model = ResNetWithAttention(
        img_size=8,
        in_channels=1,
        num_classes=10,
        width=4,
        embed_dim=8,
        patch_size=1,
        attention="graph",
    )
    images = jnp.asarray((pixels / 255 - MEAN) / STD, jnp.float32)
    logits = np.asarray(model.apply(load_run(places / "block").params, images, deterministic=True))
    assert summary["test/accuracy"] == pytest.approx((logits.argmax(-1) == labels).mean())


@pytest.mark.slow
def test_a_block_and_its_backbone_train_together_and_the_block_has_the_heads_rate(places):
    more = ("--optim.head-lr", "1e-20", "--optim.ema-decay", "0", "--epochs", "1")
    train(places, "together", *ATTENTION, *more)
    found = load_run(places / "together").params
    config = read_config(places / "together")
    data = load_dataset(config.data, 8, 1)
    first, _ = make_task(config, data, 102, None).init(jax.random.key(3))
    for (part, *path), leaf in flatten_dict(first).items():
        moved = np.abs(flatten_dict(found["params"])[(part, *path)] - leaf).max()
        assert (moved > 1e-6) == (part == "backbone"), (part, *path)


@pytest.mark.slow  # reads the run of the test before
def test_a_model_with_an_attention_block_is_described_and_cannot_be_converted(places, capsys):
    run = str(places / "block")
    assert main(["inspect", run]) == 0
    assert "graph attention of width 8" in capsys.readouterr().out
    assert main(["convert", run, str(places / "x.safetensors"), "--to", "torchvision"]) == 2
    assert "it has an attention block" in capsys.readouterr().err
    args = [*ARGUMENTS, "--init.weights", run, "--out", str(places / "y")]
    assert train_jax.main(args) == 2
    assert "no head that could be replaced" in capsys.readouterr().err
    args = ["finetune", "--data.name", "digits", "--init.weights", str(places / "plain")]
    assert train_jax.main([*args, "--model.attention", "graph", "--model.patch-size", "1"]) == 2
    assert "--model.attention graph needs --model.embed-dim" in capsys.readouterr().err


@pytest.mark.slow
def test_fine_tuning_starts_from_weights_and_statistics_and_probes_cache_its_features(places):
    train(places, "tuned", "--init.weights", str(places / "plain"), "--optim.lr", "1e-20")
    before, after = (flatten_dict(load_run(places / run).params) for run in ("plain", "tuned"))
    for path, leaf in before.items():
        if path[0] == "params" and path[1] != "fc":
            np.testing.assert_allclose(after[path], leaf, atol=1e-6, err_msg=str(path))
    args = [
        "probe", "--data.name", "digits", "--init.weights", str(places / "plain"), "--epochs", "3",
        "--out", str(places / "probe"), "--data.cache-dir", str(places / "cache"),
    ]  # fmt: skip
    assert train_jax.main(args) == 0
    probed = flatten_dict(load_run(places / "probe").params)
    for path, leaf in before.items():
        assert np.array_equal(probed[path], leaf) == (path[1] != "fc"), path


def test_a_run_is_converted_to_torchvisions_names_and_back_without_losing_a_bit(places, capsys):
    file = places / "as_torchvision.safetensors"
    assert main(["convert", str(places / "plain"), str(file), "--to", "torchvision"]) == 0
    tensors = load_file(file)
    assert tensors["layer2.0.downsample.1.running_var"].shape == (8,)
    again = load_pretrained(file)
    assert again.model_config.img_size == 8
    assert again.class_names == tuple("0123456789")
    found, expected = (
        flatten_dict(each) for each in (again.params, load_run(places / "plain").params)
    )
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[path], expected[path]) for path in expected)
    assert main(["convert", str(places / "plain"), str(places / "x"), "--to", "timm"]) == 2
    assert "it is a ResNet" in capsys.readouterr().err


def test_an_average_of_runs_would_have_wrong_statistics_and_is_refused(places, capsys):
    runs = [str(places / run) for run in ("plain", "averaged")]
    for args in (runs, [runs[0], "--best", "2"]):
        assert main(["average", *args, "--out", str(places / "soup")]) == 2
        assert "resnet18, whose batch statistics" in capsys.readouterr().err


def test_photos_are_classified_and_evaluated_with_the_running_statistics(places):
    pixels, labels = scored_images(places)
    run = load_run(places / "plain")
    found = classify(run, [np.repeat(image, 3, -1) for image in pixels[:40]])
    logits = run.model.apply(
        run.params, jnp.asarray((pixels[:40] / 255 - MEAN) / STD, jnp.float32), deterministic=True
    )
    expected = [str(label) for label in logits.argmax(-1)]
    assert [next(iter(each)) for each in found] == expected


@pytest.mark.slow
def test_a_run_that_computes_a_batch_in_parts_says_that_statistics_are_of_a_part(places, capfd):
    train(places, "parts", "--grad-accum-steps", "2", "--epochs", "1")
    assert "with --grad-accum-steps 2 only those of one part" in " ".join(
        capfd.readouterr().out.split()
    )
