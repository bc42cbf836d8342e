"""Runs of instance discrimination: what is reported, saved, resumed and used further."""

import json
from itertools import islice

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import train_jax
from jaxvit.__main__ import main
from jaxvit.augment.pipeline import make_augment
from jaxvit.command_line import parse
from jaxvit.data.datasets import load_dataset
from jaxvit.data.loader import train_batches
from jaxvit.errors import Diverged, UserError
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.positions import resize_positions
from jaxvit.interop.saved_run import load_run, read_config
from jaxvit.models.transformer import VisionTransformer
from jaxvit.runs.recorder import Recorder
from jaxvit.runtime.devices import AXIS, Devices, make_devices
from jaxvit.tasks.configured import make_task
from jaxvit.tasks.instance_discrimination import _make_resize, make_probe
from jaxvit.training.evaluate import make_score
from jaxvit.training.state import create_state
from jaxvit.training.steps import compile_train_step, step_keys
from tests.tasks.compiled import compiled

MEAN, STD, SEED = 0.305, 0.376, 4
ARGUMENTS = (
    "digits", "--method", "instance_discrimination", "--epochs", "2", "--seed", str(SEED),
    "--batch-size", "64", "--data.train-per-class", "30", "--model.embed-dim", "16",
    "--model.num-layers", "1", "--augment.mixup-alpha", "0", "--augment.rotate", "10",
    "--instance.small-views", "1",
    "--instance.contrastive-weight", "0.5", "--instance.instance-weight", "0.7",
    "--instance.z-dim", "8", "--label-smoothing", "0", "--log-every-steps", "1", "--select", "last",
)  # fmt: skip


def train(root, out: str, *more: str) -> dict:
    args = [*ARGUMENTS, "--out", str(root / out), "--data.cache-dir", str(root / "cache"), *more]
    assert train_jax.main(args) == 0
    return json.loads((root / out / "summary.json").read_text())


@pytest.fixture(scope="module")
def root(tmp_path_factory, _quick_compilation):
    root = tmp_path_factory.mktemp("instances")
    train(root, "run")
    train(root, "raw", "--optim.ema-decay", "0", "--epochs", "1")  # no average is kept
    return root


def images_of(root, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Bytes and labels of a split, from scikit-learn and the names in split.json."""
    digits = load_digits()
    names = json.loads((root / "run" / "split.json").read_text())[split]
    rows = [int(name.partition("/")[2]) for name in names]
    pixels = np.round(digits.images[rows] * (255 / 16)).astype(np.uint8)[..., None]
    return pixels, digits.target[rows]


def features_of(root, images, run: str = "run") -> np.ndarray:
    """Of the saved weights, without jaxvit's task, evaluation or normalisation."""
    weights = load_run(root / run).params
    assert set(weights) == {
        "cls_token", "norm", "patch_embedding", "positional_embedding", "transformer_encoder"
    }  # fmt: skip
    model = VisionTransformer(
        img_size=8, patch_size=2, in_channels=1, num_classes=0, embed_dim=16, num_heads=4,
        num_layers=1,
    )  # fmt: skip
    images = jnp.asarray((images / 255 - MEAN) / STD, jnp.float32)
    return np.asarray(jax.jit(model.apply)({"params": weights}, images))


def unit(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize("run", ["run", "raw"])
def test_what_a_run_reports_is_what_its_weights_give(root, run):
    pixels, train_labels = images_of(root, "train")
    train_features = features_of(root, pixels, run)
    pixels, labels = images_of(root, "test")
    features = features_of(root, pixels, run)
    summary = json.loads((root / run / "summary.json").read_text())
    knn = KNeighborsClassifier(20, weights=lambda d: np.exp(-d / 0.07), metric="cosine")
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    for name, model in {"knn": knn, "linear": linear}.items():
        accuracy = model.fit(train_features, train_labels).score(features, labels)
        assert summary[f"test/{name}_accuracy"] == pytest.approx(accuracy, abs=2.5 / len(labels))
        assert summary[f"test/{name}_accuracy_low"] < accuracy
        assert summary[f"test/{name}_accuracy_high"] > accuracy
    z = unit(features)
    squares = ((z[:, None] - z[None]) ** 2).sum(-1)[np.triu_indices(len(z), 1)]
    assert summary["test/uniformity"] == pytest.approx(
        np.log(np.exp(-2 * squares).mean()), rel=1e-3
    )
    with np.load(root / run / "test_outputs.npz") as saved:
        np.testing.assert_allclose(saved["outputs/features"], features, atol=1e-4)
        a, b = unit(saved["outputs/view_a"]), unit(saved["outputs/view_b"])
        assert saved["counts/images"] == len(labels)
    assert summary["test/alignment"] == pytest.approx(((a - b) ** 2).sum(1).mean(), rel=1e-4)
    nearest = (a @ b.T).argmax(1) == np.arange(len(a))
    assert summary["test/retrieval_accuracy"] == pytest.approx(nearest.mean())
    assert not any("test/accuracy" in name for name in summary)


def test_the_two_views_that_are_scored_are_drawn_for_each_image_alone(root):
    pixels, _ = images_of(root, "test")
    config = read_config(root / "run")
    augment = jax.jit(make_augment(config.augment, (MEAN,), (STD,), 8))
    with np.load(root / "run" / "test_outputs.npz") as saved:
        views = saved["outputs/view_a"], saved["outputs/view_b"]
    for row in (0, 17, len(pixels) - 1):
        key = jax.random.fold_in(jax.random.key(SEED), row)
        images, _ = augment(key, jnp.asarray(pixels[[row, row]]), jnp.zeros((2, 1)))
        found = features_of(root, (np.asarray(images) * STD + MEAN) * 255)
        for expected, view in zip(found, views, strict=True):
            np.testing.assert_allclose(view[row], expected, atol=2e-3)


def test_validations_are_those_of_the_validation_split_and_instances_are_learnt(root):
    lines = [json.loads(x) for x in (root / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "train/loss_instance" in line]
    number = len(images_of(root, "train")[0])
    # Two passes of one loss each, which begin near guessing.
    assert steps[0]["train/loss_instance"] == pytest.approx(2 * np.log(number), rel=0.1)
    for line in steps:
        total = 0.7 * line["train/loss_instance"] + 0.5 * line["train/loss_contrastive"]
        assert line["train/loss"] == pytest.approx(total, rel=1e-5)
        assert 0 <= line["train/accuracy"] <= 1
    validated = [line for line in lines if "val/knn_accuracy" in line]
    assert [line["epoch"] for line in validated] == [1, 2]
    n = len(images_of(root, "val")[0])
    for name in ("val/knn_accuracy", "val/linear_accuracy", "val/retrieval_accuracy"):
        for line in validated:
            assert line[name] * n == pytest.approx(round(line[name] * n), abs=1e-6)
    summary = json.loads((root / "run" / "summary.json").read_text())
    best = max(validated, key=lambda line: (line["val/knn_accuracy"], line["val/linear_accuracy"]))
    assert summary["best"] == best


def test_pictures_and_the_page(root, capsys):
    names = {path.stem for path in (root / "run" / "plots").iterdir()}
    assert names == {"curves", "views", "small_views", "feature_map", "neighbours"}
    assert main(["report", str(root / "run")]) == 0
    page = (root / "run" / "report.html").read_text()
    summary = json.loads((root / "run" / "summary.json").read_text())
    assert f"{100 * summary['test/knn_accuracy']:.1f} %" in page
    assert f"of {summary['images']['test']} test images" in page
    assert summary["images"]["test"] != summary["images"]["val"]
    assert page.count("data:image/jpeg;base64,") == 4
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_hash_and_another_another(root):
    hashes = [train(root, f"seed{seed}", "--seed", seed)["params_sha256"] for seed in ("4", "5")]
    first = json.loads((root / "run" / "summary.json").read_text())["params_sha256"]
    assert hashes[0] == first
    assert hashes[1] != first


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(root, monkeypatch):
    class Killed(Exception):
        pass

    log, lines = Recorder._on_log, iter(range(100))

    def dies(self, step, metrics):
        if next(lines) == 7:
            raise Killed
        return log(self, step, metrics)

    monkeypatch.setattr(Recorder, "_on_log", dies)
    with pytest.raises(Killed):
        train(root, "killed", "--checkpoint.every-steps", "3")
    monkeypatch.undo()
    resumed = train(root, "killed", "--checkpoint.every-steps", "3", "--resume")
    whole = json.loads((root / "run" / "summary.json").read_text())
    for name in ("params_sha256", "test/knn_accuracy", "test/alignment"):
        assert resumed[name] == whole[name]


def steps_of(count: int, mode: str, shard: bool = False, number: int = 3):
    """The losses of some steps, and the state after them."""
    _, config = parse([*ARGUMENTS, "--augment.crop-scale", "0.6", "1"])
    data = load_dataset(config.data, 8, 1)
    devices = Devices(Mesh(np.asarray(jax.devices()[:count]), (AXIS,)), mode, shard)
    task = make_task(config, data, 20, devices.axis)
    state = devices.create(lambda: create_state(task, config.seed))
    step = compile_train_step(task, devices, config)
    losses = []
    for batch in islice(train_batches(data.train, 64, config.seed, with_index=True), number):
        state, metrics = step(state, devices.place_batch(batch))
        losses.append([float(metrics[name]) for name in ("loss", "loss_contrastive", "grad_norm")])
    return np.array(losses), state


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "shard"), [("jit", False), ("jit", True), ("pmap", False)],
    ids=["jit", "sharded", "pmap"],
)  # fmt: skip
def test_four_devices_are_as_one(mode, shard):
    expected, _ = steps_of(1, "jit")
    found, state = steps_of(4, mode, shard)
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    if shard:  # the head of instances is split over the devices
        kernel = state.params["instances"]["kernel"]
        assert len({str(part.index) for part in kernel.addressable_shards}) == 4


@pytest.mark.slow
def test_views_that_are_scored_mix_no_images(root):
    outputs = []
    cutmix = ("--augment.cutmix-alpha", "1", "--augment.cutmix-p", "1")
    for more in ((), cutmix, ("--augment.mixup-alpha", "1")):
        _, config = parse([*ARGUMENTS, "--instance.contrastive-weight", "0", *more])
        data = load_dataset(config.data, 8, 1)
        task = compiled(make_task(config, data, 20, None))
        weights = task.weights(*task.init(jax.random.key(0)))
        batch = data.val.take(np.arange(6), with_index=True) | {"mask": np.ones(6, bool)}
        outputs.append(task.score(weights, jax.random.key(1), batch)[1])
    for mixed in outputs[1:]:
        chex.assert_trees_all_equal(outputs[0], mixed)


def test_features_that_are_no_numbers_stop_the_run():
    _, config = parse([*ARGUMENTS])
    data = load_dataset(config.data, 8, 1)
    probe = make_probe(data.train, 10)
    outputs = {name: np.full((3, 4), np.nan) for name in ("features", "view_a", "view_b")}
    with pytest.raises(Diverged, match="no finite numbers"):
        probe(lambda split: outputs, data.val)


def test_targets_are_the_images_own_numbers(root):
    _, config = parse([*ARGUMENTS, "--augment.cutmix-alpha", "0"])
    data = load_dataset(config.data, 8, 1)
    task = compiled(make_task(config, data, 20, None))
    rows = np.array([5, 290, 0, 33])
    inputs = task.prepare(jax.random.key(0), data.train.take(rows, with_index=True))
    for name, views in (("targets", 2), ("small_targets", 1)):
        assert inputs[name].shape == (4, views, len(data.train))
        assert np.array_equal(inputs[name].argmax(-1), np.repeat(rows[:, None], views, axis=1))
    assert np.array_equal(inputs["index"], rows)
    _, config = parse([*ARGUMENTS, "--augment.cutmix-alpha", "0", "--label-smoothing", "0.1"])
    task = compiled(make_task(config, data, 20, None))
    inputs = task.prepare(jax.random.key(0), data.train.take(rows, with_index=True))
    for name in ("targets", "small_targets"):
        rest = 0.1 / len(data.train)
        assert float(inputs[name].min()) == pytest.approx(rest, rel=1e-5)
        assert float(inputs[name].max()) == pytest.approx(0.9 + rest, rel=1e-5)


@pytest.mark.slow
def test_of_the_images_that_are_compared_with_features_alone_are_computed():
    _, config = parse([*ARGUMENTS])
    data, seen = load_dataset(config.data, 8, 1), []
    task = make_task(config, data, 20, None)

    def probe(outputs_of, split):
        seen.extend((outputs_of(split), outputs_of(data.train)))
        return {}

    task = task._replace(probe=probe)
    devices = make_devices(config)
    state = devices.create(lambda: create_state(task, config.seed))
    weights = task.weights(state.params, state.extra)
    score = make_score(task, devices, 64, config.seed)
    score(weights, data.test)
    own, of_train = seen
    assert set(own) == {"features", "view_a", "view_b"}
    assert set(of_train) == {"features"}
    whole = score(weights, data.train).outputs["features"]
    np.testing.assert_allclose(of_train["features"], whole, atol=1e-6)


@pytest.mark.slow
def test_small_views_of_another_size_see_resized_positions():
    positions = np.random.default_rng(0).normal(size=(1, 17, 6)).astype(np.float32)
    for grid in (2, 3, 6):
        found = _make_resize(4, grid)(jnp.asarray(positions))
        expected = resize_positions(positions, grid, "bicubic_antialias")
        np.testing.assert_allclose(found, expected, atol=1e-6)
    _, config = parse([*ARGUMENTS, "--instance.small-size", "4"])
    data = load_dataset(config.data, 8, 1)
    task = compiled(make_task(config, data, 20, None))
    inputs = task.prepare(jax.random.key(0), data.train.take(np.arange(8), with_index=True))
    assert inputs["small_images"].shape == (8, 1, 4, 4, 1)
    _, whole = parse([*ARGUMENTS, "--instance.small-size", "4", "--instance.small-scale", "1", "1"])
    shown = make_task(whole, data, 20, None).prepare(
        jax.random.key(0), data.train.take(np.arange(8), with_index=True)
    )
    assert shown["small_images"].shape == (8, 1, 4, 4, 1)
    params, _ = task.init(jax.random.key(1))
    loss, _ = task.phases[0].loss(params, {}, jax.random.key(2), inputs)
    assert np.isfinite(loss)


@pytest.mark.slow
def test_a_classifier_starts_from_its_weights_at_another_size(root):
    out = root / "tuned"
    args = ["finetune", "--data.name", "digits", "--init.weights", str(root / "run"), "--epochs",
            "1", "--batch-size", "64", "--model.img-size", "16", "--data.stored-scale", "1",
            "--augment.crop-scale", "1", "1", "--data.exif", "False", "--out", str(out),
            "--data.cache-dir", str(root / "cache")]  # fmt: skip
    assert train_jax.main(args) == 0
    start, tuned = load_pretrained(root / "run"), load_run(out)
    assert tuned.model.img_size == 16
    assert start.num_classes == 0
    assert start.class_names is None
    assert tuned.params["positional_embedding"].shape == (1, 1 + 8 * 8, 16)
    _, config = parse(args)
    data = load_dataset(config.data, 16, 1)
    params = make_task(config, data, 20, None).pretrained[0]
    kernel = start.params["transformer_encoder"]["layers_0"]["attn"]["qkv"]["kernel"]
    assert np.array_equal(
        params["transformer_encoder"]["layers_0"]["attn"]["qkv"]["kernel"], kernel
    )


def test_it_starts_from_pretrained_weights_under_the_name_of_the_backbone(root):
    _, config = parse([*ARGUMENTS, "--init.weights", str(root / "run")])
    data = load_dataset(config.data, 8, 1)
    params, extra = make_task(config, data, 20, None).pretrained
    assert set(params) == {"backbone"}
    assert not extra
    assert np.array_equal(
        params["backbone"]["cls_token"], load_run(root / "run").params["cls_token"]
    )


def test_commands_that_need_a_classifier_say_what_to_do(root, capsys):
    for command in ("predict", "evaluate", "explain"):
        assert main([command, str(root / "run"), str(root)]) != 0, command
        said = capsys.readouterr().err
        assert "have no head" in said, command
        assert said.count("\n") == 1, command
    assert main(["average", str(root / "run"), "--best", "2", "--out", str(root / "soup")]) != 0
    assert "leaves no classifier" in capsys.readouterr().err


@pytest.mark.parametrize("run", ["run", "raw"])
def test_commands_that_read_weights_read_its(root, run, tmp_path, capsys):
    assert main(["inspect", str(root / run)]) == 0
    said = capsys.readouterr().out
    summary = json.loads((root / run / "summary.json").read_text())
    assert "the model gives features" in said
    assert "method instance_discrimination" in said
    assert f"test/knn_accuracy {summary['test/knn_accuracy']:.4g}" in said
    assert main(["convert", str(root / run), str(tmp_path / "x.safetensors"), "--to", "lab"]) == 0
    again, params = load_pretrained(tmp_path / "x.safetensors"), load_run(root / run).params
    assert np.array_equal(again.params["cls_token"], params["cls_token"])


def test_a_probe_on_its_features_is_trained_in_seconds(root, capsys):
    args = ["probe", "--data.name", "digits", "--init.weights", str(root / "raw"), "--epochs", "3",
            "--out", str(root / "probe"), "--data.cache-dir", str(root / "cache")]  # fmt: skip
    assert train_jax.main(args) == 0
    assert json.loads((root / "probe" / "summary.json").read_text())["test/accuracy"] > 0.1
    assert "warning: " not in capsys.readouterr().out.replace("warning: 1", "")
    other = train_jax.main([*args, "--data.split-seed", "3", "--out", str(root / "other")])
    assert other == 0
    assert "val images have names of images that" in " ".join(capsys.readouterr().out.split())


def test_a_metric_of_another_method_is_refused(root):
    _, config = parse([*ARGUMENTS, "--monitor", "accuracy"])
    data = load_dataset(config.data, 8, 1)
    with pytest.raises(UserError, match="is no metric that compares states of this method"):
        make_task(config, data, 20, None)


def test_the_draws_of_a_step_follow_seed_and_step():
    _, config = parse([*ARGUMENTS])
    data = load_dataset(config.data, 8, 1)
    task = compiled(make_task(config, data, 20, None))
    batch = data.train.take(np.arange(8), with_index=True)

    def prepare(seed: int, step: int):
        return task.prepare(step_keys(seed, jnp.int32(step))[0], batch)["images"]

    first = prepare(0, 0)
    assert np.array_equal(first, prepare(0, 0))
    for other in (prepare(0, 1), prepare(1, 0)):
        assert np.abs(np.asarray(first - other)).max() > 0.1


def test_a_contrastive_loss_couples_the_images_of_a_batch():
    for weight in ("0.5", "0"):
        _, config = parse([*ARGUMENTS, "--instance.contrastive-weight", weight])
        task = make_task(config, load_dataset(config.data, 8, 1), 20, None)
        assert task.couples == (weight != "0")
        assert task.uses_index


def test_small_views_are_of_smaller_parts_and_have_draws_of_their_own():
    """On a ramp the range of a view follows the part that it shows."""
    more = ["--augment.rotate", "0", "--augment.crop-scale", "0.8", "1", "--instance.small-views",
            "2", "--instance.small-scale", "0.1", "0.2"]  # fmt: skip
    _, config = parse([*ARGUMENTS, *more])
    data = load_dataset(config.data, 8, 1)
    task = compiled(make_task(config, data, 20, None))
    ramp = np.broadcast_to(np.linspace(0, 255, 8).astype(np.uint8)[None, :, None], (8, 8, 1))
    batch = {"image": np.repeat(ramp[None], 16, 0), "index": np.arange(16, dtype=np.int32)}
    inputs = task.prepare(jax.random.key(0), batch)
    spread = {
        name: np.ptp(np.asarray(inputs[name]), axis=(2, 3, 4)).mean()
        for name in ("images", "small_images")
    }
    assert spread["small_images"] < 0.7 * spread["images"]
    _, config = parse([*ARGUMENTS, "--instance.small-views", "2", "--instance.small-scale", "1",
                       "1", "--augment.crop-scale", "1", "1"])  # fmt: skip
    task = compiled(make_task(config, data, 20, None))
    batch = data.train.take(np.arange(16), with_index=True)
    inputs = task.prepare(jax.random.key(0), batch)
    difference = np.abs(np.asarray(inputs["images"] - inputs["small_images"]))
    assert (difference.max(axis=(2, 3, 4)) > 0.01).mean() > 0.3  # of angles up to 10 degrees


def test_both_passes_have_dropout_of_their_own():
    more = ["--model.dropout", "0.5", "--augment.rotate", "0", "--augment.crop-scale", "1", "1",
            "--instance.small-scale", "1", "1", "--instance.small-views", "2",
            "--instance.contrastive-weight", "0"]  # fmt: skip
    _, config = parse([*ARGUMENTS, *more])
    data = load_dataset(config.data, 8, 1)
    task = compiled(make_task(config, data, 20, None))
    params, _ = task.init(jax.random.key(0))
    inputs = task.prepare(jax.random.key(1), data.train.take(np.arange(16), with_index=True))
    assert np.array_equal(inputs["images"], inputs["small_images"])

    def entropy(inputs):
        return task.phases[0].loss(params, {}, jax.random.key(2), inputs)[1][1]["loss_instance"]

    alone = {name: x for name, x in inputs.items() if not name.startswith("small_")}
    _, config = parse([*ARGUMENTS, *more[:-4], "--instance.small-views", "0",
                       "--instance.contrastive-weight", "0"])  # fmt: skip
    one_pass = compiled(make_task(config, data, 20, None))
    single = one_pass.phases[0].loss(params, {}, jax.random.key(2), alone)[1][1]["loss_instance"]
    assert abs(float(entropy(inputs)) - 2 * float(single)) > 1e-5


@pytest.mark.slow
def test_no_part_of_the_network_begins_without_a_gradient():
    _, config = parse([*ARGUMENTS, "--model.init", "vit", "--instance.contrastive-weight", "0"])
    data = load_dataset(config.data, 8, 1)
    task = compiled(make_task(config, data, 20, None))
    params, _ = task.init(jax.random.key(0))
    inputs = task.prepare(jax.random.key(1), data.train.take(np.arange(16), with_index=True))
    grads = jax.grad(lambda p: task.phases[0].loss(p, {}, jax.random.key(2), inputs)[0])(params)
    assert np.abs(np.asarray(grads["backbone"]["head"]["kernel"])).max() > 0
    assert np.abs(np.asarray(grads["instances"]["bias"])).max() > 0


@pytest.mark.slow
def test_images_stored_larger_are_scored_at_the_models_size(root):
    more = ("--data.stored-scale", "2", "--augment.crop-scale", "0.4", "1", "--epochs", "1")
    summary = train(root, "stored", *more)
    assert 0 <= summary["test/knn_accuracy"] <= 1
    with np.load(root / "stored" / "test_outputs.npz") as saved:
        features = saved["outputs/features"]
    np.testing.assert_allclose(
        features, features_of(root, images_of(root, "test")[0], "stored"), atol=1e-4
    )


def test_the_chosen_metric_is_monitored():
    _, config = parse([*ARGUMENTS, "--monitor", "alignment"])
    task = make_task(config, load_dataset(config.data, 8, 1), 20, None)
    assert task.monitor[0] == ("alignment", False)
    assert [name for name, *_ in task.headline] == ["knn_accuracy", "linear_accuracy"]


def test_the_accuracy_of_training_is_that_of_the_large_views(root):
    _, config = parse([*ARGUMENTS, "--data.cache-dir", str(root / "cache")])
    data = load_dataset(config.data, 8, 1)
    task = make_task(config, data, 10, None)
    params, _ = task.init(jax.random.key(0))
    batch = next(train_batches(data.train, 8, SEED, with_index=True))
    inputs = task.prepare(jax.random.key(1), batch)
    of = jax.jit(task.phases[0].loss)

    def metrics(**changed):
        return of(params, {}, jax.random.key(2), inputs | changed)[1][1]

    plain = metrics()
    small = metrics(small_targets=jnp.roll(inputs["small_targets"], 1, axis=-1))
    assert small["accuracy"] == plain["accuracy"]
    assert small["loss_instance"] != plain["loss_instance"]
    # With every instance as the target of every view in turn, one of them is right.
    count = inputs["targets"].shape[-1]
    large = inputs["targets"].shape[:-1]

    def right(row):
        return metrics(targets=jnp.broadcast_to(row, (*large, count)))["accuracy"]

    assert jax.vmap(right)(jnp.eye(count)).sum() == pytest.approx(1.0)
