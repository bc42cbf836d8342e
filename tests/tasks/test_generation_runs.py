"""Runs that make images: what is reported, saved, resumed, sampled and measured."""

import json
import zlib
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from PIL import Image
from scipy.linalg import sqrtm
from sklearn.datasets import load_digits

import train_jax
from jaxvit.__main__ import main
from jaxvit.command_line import parse
from jaxvit.data.cache import no_tracking
from jaxvit.data.datasets import _so_many, find_source, load_dataset
from jaxvit.data.loader import train_batches
from jaxvit.errors import UserError
from jaxvit.interop.saved_generator import load_generator
from jaxvit.objectives.generation import diversity, kernel_distance
from jaxvit.runs.recorder import Recorder
from jaxvit.runs.sketches import read_sketches, tiled, write_sketch
from jaxvit.runtime.devices import AXIS, Devices
from jaxvit.tasks.configured import make_task
from jaxvit.tasks.extra_images import with_sampled
from jaxvit.tasks.generation import alarm
from jaxvit.tasks.samples import make_samples, save_images
from jaxvit.tasks.sampling import Sampling
from jaxvit.training.state import create_state
from jaxvit.training.steps import compile_train_step, step_keys

SEED = 4
COMMON = (
    "--epochs", "2", "--val-every-epochs", "1", "--seed", str(SEED), "--batch-size", "32",
    "--data.train-per-class", "13", "--log-every-steps", "1",
)  # fmt: skip
ARGUMENTS = {
    # At the preset's rate its images would still not depend on what they are made from.
    "gan": (
        "digits-dcgan", *COMMON, "--model.width", "8", "--model.z-dim", "6", "--optim.lr", "1e-2",
        "--batch-size", "8",
    ),
    "diffusion": (
        "digits-ddpm", *COMMON, "--model.width", "8", "--diffusion.steps", "40",
        "--diffusion.sample-steps", "4", "--optim.ema-decay", "0.9",
    ),
}  # fmt: skip
WITHOUT_CLASSES = (
    "--data.name", "folder", "--data.no-labels", "--model.no-conditional", "--model.img-size", "8",
    "--data.mean", ".5", ".5", ".5", "--data.std", ".5", ".5", ".5",
)  # fmt: skip


def train(root, out: str, method: str, *more: str) -> dict:
    args = [*ARGUMENTS[method], "--out", str(root / out), "--data.cache-dir", str(root / "cache")]
    assert train_jax.main([*args, *more]) == 0
    return json.loads((root / out / "summary.json").read_text())


@pytest.fixture(scope="module")
def root(tmp_path_factory, _quick_compilation):
    root = tmp_path_factory.mktemp("generation")
    for method in ARGUMENTS:
        train(root, method, method)
    return root


def images_of(root, run: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Bytes and labels of a split, from scikit-learn and the names in split.json."""
    digits = load_digits()
    names = json.loads((root / run / "split.json").read_text())[split]
    rows = [int(name.partition("/")[2]) for name in names]
    pixels = np.round(digits.images[rows] * (255 / 16)).astype(np.uint8)[..., None]
    return pixels, digits.target[rows]


def lines_of(root, run: str) -> list[dict]:
    return [json.loads(x) for x in (root / run / "metrics.jsonl").read_text().splitlines()]


def as_features(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 127.5 - 1


@pytest.mark.parametrize("run", ARGUMENTS)
def test_what_a_run_reports_is_what_its_samples_give(root, run):
    pixels, labels = images_of(root, run, "test")
    summary = json.loads((root / run / "summary.json").read_text())
    with np.load(root / run / "test_outputs.npz") as saved:
        samples = saved["outputs/samples"]
    assert samples.shape == pixels.shape
    assert samples.dtype == np.uint8
    if run == "gan":  # otherwise noise and class could be ignored unseen
        assert summary["test/diversity"] > 0.1
        same = [samples[labels == label].mean(axis=0) for label in (0, 3)]
        assert np.abs(same[0] - same[1]).max() > 5
    real, made = as_features(pixels), as_features(samples)
    assert summary["test/kernel_distance"] == pytest.approx(kernel_distance(real, made), rel=1e-6)
    share = diversity(made, labels) / diversity(real, labels)
    assert summary["test/diversity"] == pytest.approx(share, rel=1e-6)
    assert len(images_of(root, run, "train")[0]) == 130
    assert np.bincount(images_of(root, run, "train")[1]).tolist() == [13] * 10


@pytest.mark.parametrize("run", ARGUMENTS)
def test_samples_of_the_test_are_those_of_the_saved_weights(root, run):
    """Drawn for each row alone, from fold_in(key(seed), row)."""
    saved = load_generator(root / run)
    _, labels = images_of(root, run, "test")
    with np.load(root / run / "test_outputs.npz") as outputs:
        samples = outputs["outputs/samples"]
    for row in (0, 77, len(labels) - 1):
        key = jax.random.fold_in(jax.random.key(SEED), row)
        label = jnp.asarray(labels[row : row + 1])
        if run == "gan":
            assert saved.step == json.loads((root / run / "summary.json").read_text())["steps"]
            z = jax.random.normal(key, (1, 6))
            image = saved.model.apply(saved.weights, z, label)
        else:
            image = by_hand(saved, jax.random.split(key, 3)[2], label)
        found = np.round((np.clip(np.asarray(image), -1, 1) + 1) * 127.5)
        assert np.abs(found[0] - samples[row]).max() <= 1


def by_hand(saved, key, label, eta: float = 0.0) -> np.ndarray:
    """DDIM of 4 jumps over 40 times of a cosine schedule, guided by 1.5, in float64."""
    bar = np.cos((np.arange(41) / 40 + 0.008) / 1.008 * np.pi / 2) ** 2
    bar = np.cumprod(1 - np.minimum(1 - bar[1:] / bar[:-1], 0.999))
    x = np.asarray(jax.random.normal(jax.random.fold_in(key, 0), (8, 8, 1)), np.float64)[None]
    for number, (t, to) in enumerate(((30, 20), (20, 10), (10, 0), (0, -1)), start=1):
        both = [
            np.asarray(
                saved.model.apply(
                    {"params": saved.weights}, jnp.asarray(x, jnp.float32), jnp.full(1, t), of
                ),
                np.float64,
            )
            for of in (label, jnp.full(1, 10))
        ]
        eps = both[1] + 1.5 * (both[0] - both[1])
        x0 = np.clip((x - np.sqrt(1 - bar[t]) * eps) / np.sqrt(bar[t]), -1, 1)
        eps = (x - np.sqrt(bar[t]) * x0) / np.sqrt(1 - bar[t])
        after = bar[to] if to >= 0 else 1.0
        sigma = eta * np.sqrt((1 - after) / (1 - bar[t]) * (1 - bar[t] / after))
        noise = np.asarray(jax.random.normal(jax.random.fold_in(key, number), (8, 8, 1)))
        x = np.sqrt(after) * x0 + np.sqrt(1 - after - sigma**2) * eps + sigma * noise
    return x


def test_noise_on_the_way_is_new_at_each_step(root):
    saved = load_generator(root / "diffusion")
    made = make_samples(saved, np.array([0, 7], np.int32), 5, Sampling(4, 1.0, 1.5))
    key = jax.random.fold_in(jax.random.key(5), 1)
    image = by_hand(saved, key, jnp.array([7]), eta=1.0)
    found = np.round((np.clip(image, -1, 1) + 1) * 127.5)
    assert np.abs(found[0] - made[1]).max() <= 1


def test_training_sees_augmented_images_and_drops(root):
    _, config = parse([*ARGUMENTS["diffusion"], "--model.dropout", "0.5", "--augment.flip-p", "1"])
    data = load_dataset(config.data, 8, 1)
    task = make_task(config, data, 20, None)
    batch = data.train.take(np.arange(4), with_index=True)
    inputs = task.prepare(jax.random.key(0), batch)
    expected = batch["image"][:, :, ::-1] / 127.5 - 1
    np.testing.assert_allclose(inputs["images"], expected, atol=1e-6)
    params, extra = task.init(jax.random.key(0))
    params = jax.tree.map(lambda x: x + 0.05, params)  # its last layers begin with zeros
    loss = [float(task.phases[0].loss(params, extra, jax.random.key(seed), inputs)[0])
            for seed in (0, 0, 1)]  # fmt: skip
    assert loss[0] == loss[1] != loss[2]


def test_an_averaged_generator_has_statistics_of_its_own_under_pmap_too(root):
    swa = ("--optim.swa-start", "0.5", "--epochs", "2")
    train(root, "swa", "gan", *swa)
    train(root, "swa-pmap", "gan", *swa, "--parallel.mode", "pmap")
    saved, spread = (load_generator(root / run) for run in ("swa", "swa-pmap"))
    for a, b in zip(jax.tree.leaves(saved.weights), jax.tree.leaves(spread.weights), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-3)
    # Of maps of the average itself, over many z.
    z = jax.random.normal(jax.random.key(3), (4000, 6))
    classes = jax.nn.one_hot(jnp.arange(4000) % 10, 10)
    kernel = saved.weights["params"]["project"]["kernel"]
    maps = jnp.concatenate([z, classes], 1) @ kernel.transpose(2, 0, 1, 3).reshape(16, -1)
    maps = np.asarray(maps).reshape(-1, maps.shape[1] // 16)
    var = np.asarray(saved.weights["batch_stats"]["norms_0"]["var"])
    np.testing.assert_allclose(var, maps.var(axis=0), rtol=0.2)


def test_coloured_images_without_classes_are_made_and_sampled(root, tmp_path):
    rng = np.random.default_rng(0)
    for number in range(24):
        pixels = rng.integers(0, 256, (9, 9, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    given = ["digits-ddpm", *WITHOUT_CLASSES, "--data.dir", str(tmp_path), "--model.width", "8",
             "--diffusion.guidance", "1",
             "--epochs", "1", "--diffusion.steps", "20", "--diffusion.sample-steps", "2",
             "--data.stored-scale", "1.5", "--augment.crop-scale", "0.5", "1",
             "--optim.ema-decay", "0", "--data.cache-dir", str(root / "cache")]  # fmt: skip
    assert train_jax.main([*given, "--out", str(root / "plain")]) == 0
    assert sample(root, "plain", "plain-made", "--n", "3") == 0
    files = sorted((root / "plain-made").iterdir())
    assert [file.name for file in files] == ["00000.png", "00001.png", "00002.png"]
    assert np.asarray(Image.open(files[0])).shape == (8, 8, 3)
    _, config = parse(["digits", "--data.extra-dir", str(root / "plain")])
    with pytest.raises(UserError, match="makes images without a class: train it with"):
        with_sampled(config.data, no_tracking)


def test_too_few_images_to_compare_with_are_one_line(tmp_path):
    for number in range(8):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / f"{number}.png")
    _, config = parse(["digits-dcgan", *WITHOUT_CLASSES, "--data.dir", str(tmp_path)])
    data = load_dataset(config.data, 8, 3)
    with pytest.raises(UserError, match="split has 1 image, and samples are compared"):
        make_task(config, data, 10, None)


def test_samples_are_pictures_of_weights_and_biases(root):
    train(root, "wandb", "gan", "--epochs", "1", "--track.wandb", "offline")
    made = list((root / "wandb").glob("wandb/offline-run-*/files/media/images/val/samples_*.png"))
    assert len(made) == 1
    assert np.asarray(Image.open(made[0])).shape[:2] == (64, 64)


def test_the_loss_of_diffusion_is_that_of_the_saved_weights(root):
    saved = load_generator(root / "diffusion")
    pixels, labels = images_of(root, "diffusion", "test")
    bar = np.cos((np.arange(41) / 40 + 0.008) / 1.008 * np.pi / 2) ** 2
    bar = np.cumprod(1 - np.minimum(1 - bar[1:] / bar[:-1], 0.999))
    keys = [
        jax.random.split(jax.random.fold_in(jax.random.key(SEED), row), 3)
        for row in range(len(labels))
    ]
    t = np.array([int(jax.random.randint(key[0], (), 0, 40)) for key in keys])
    noise = np.stack([jax.random.normal(key[1], (8, 8, 1)) for key in keys])
    at = bar[t][:, None, None, None]
    noisy = np.sqrt(at) * (pixels / 127.5 - 1) + np.sqrt(1 - at) * noise
    found = saved.model.apply({"params": saved.weights}, jnp.asarray(noisy, jnp.float32), t, labels)
    summary = json.loads((root / "diffusion" / "summary.json").read_text())
    loss = float(np.mean((np.asarray(found) - noise) ** 2))
    assert summary["test/loss"] == pytest.approx(loss, rel=1e-4)


def test_what_is_used_of_a_gan_is_its_generator_with_its_statistics(root):
    saved = load_generator(root / "gan")
    assert set(saved.weights) == {"params", "batch_stats"}
    assert set(saved.weights["params"]) == {"project", "norms_0", "to_image"}
    assert np.any(saved.weights["batch_stats"]["norms_0"]["mean"])
    lines = [line for line in lines_of(root, "gan") if "train/loss/generator" in line]
    assert {"train/loss/discriminator", "train/of_real/discriminator",
            "train/of_fake/discriminator"} <= set(lines[0])  # fmt: skip
    assert lines[0]["train/loss/discriminator"] == pytest.approx(2 * np.log(2), rel=0.1)
    assert 0 < lines[-1]["train/of_fake/discriminator"] < 1
    assert lines[0]["train/learning_rate/generator"] == pytest.approx(1e-2)


@pytest.mark.parametrize("run", ARGUMENTS)
def test_each_validation_keeps_samples_of_the_same_noise(root, run):
    steps = [line["step"] for line in lines_of(root, run) if "val/kernel_distance" in line]
    kept = read_sketches(root / run, set(steps))["samples"]
    assert [step for step, _ in kept] == steps
    assert all(images.shape == (64, 8, 8, 1) for _, images in kept)
    assert not np.array_equal(kept[0][1], kept[1][1])
    pixels, _ = images_of(root, run, "val")
    if run == "gan":  # the last state is the one that is saved
        saved = load_generator(root / run)
        labels = images_of(root, run, "val")[1]
        key = jax.random.fold_in(jax.random.key(SEED), 5)
        image = saved.model.apply(
            saved.weights, jax.random.normal(key, (1, 6)), jnp.asarray(labels[5:6])
        )
        expected = np.round((np.asarray(image)[0] + 1) * 127.5)
        assert np.abs(kept[-1][1][5] - expected).max() <= 1


def test_samples_are_events_of_tensorboard(root):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(root / "gan"))
    events.Reload()
    assert len(events.Images("val/samples")) == 2
    assert events.Images("val/samples")[0].width == 64  # 8 x 8 of them


def test_sketches_are_read_back_and_tiled(tmp_path):
    rng = np.random.default_rng(0)
    for step, channels in ((7, 3), (20, 3)):
        write_sketch(tmp_path, "samples", step, rng.integers(0, 256, (5, 4, 4, channels), np.uint8))
    images = rng.integers(0, 256, (5, 4, 4, 3), np.uint8)
    write_sketch(tmp_path, "samples", 100, images)
    found = read_sketches(tmp_path, {7, 100})["samples"]
    assert [step for step, _ in found] == [7, 100]
    np.testing.assert_array_equal(found[1][1], images)
    tiles = tiled(images)
    assert tiles.shape == (8, 12, 3)
    np.testing.assert_array_equal(tiles[4:8, 4:8], images[4])
    assert not tiles[4:, 8:].any()


@pytest.mark.parametrize("run", ARGUMENTS)
def test_pictures_and_the_page(root, run):
    names = {path.stem for path in (root / run / "plots").iterdir()}
    of_diffusion = {"reverse_process"} if run == "diffusion" else set()
    assert names == {"curves", "samples", "progress", "copies"} | of_diffusion
    assert main(["report", str(root / run)]) == 0
    page = (root / run / "report.html").read_text()
    summary = json.loads((root / run / "summary.json").read_text())
    assert f"{summary['test/kernel_distance']:.4f}" in page
    assert page.count("data:image/jpeg;base64,") == 3 + len(of_diffusion)
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize("method", ARGUMENTS)
def test_a_killed_run_resumes_to_the_same_bits(root, method, monkeypatch):
    class Killed(Exception):
        pass

    log, lines = Recorder._on_log, iter(range(100))

    def dies(self, step, metrics):
        if next(lines) == 6:
            raise Killed
        return log(self, step, metrics)

    monkeypatch.setattr(Recorder, "_on_log", dies)
    with pytest.raises(Killed):
        train(root, f"killed-{method}", method, "--checkpoint.every-steps", "3")
    monkeypatch.undo()
    resumed = train(root, f"killed-{method}", method, "--checkpoint.every-steps", "3", "--resume")
    whole = json.loads((root / method / "summary.json").read_text())
    for name in ("params_sha256", "test/kernel_distance", "test/diversity"):
        assert resumed[name] == whole[name]


def steps_of(method: str, count: int, mode: str, number: int = 2):
    """The losses of some steps, and the state after them."""
    _, config = parse([*ARGUMENTS[method]])
    data = load_dataset(config.data, 8, 1)
    devices = Devices(Mesh(np.asarray(jax.devices()[:count]), (AXIS,)), mode, False)
    task = make_task(config, data, 20, devices.axis)
    state = devices.create(lambda: create_state(task, config.seed))
    step = compile_train_step(task, devices, config)
    losses = []
    batches = train_batches(data.train, config.batch_size, config.seed, with_index=True)
    for _, batch in zip(range(number), batches, strict=False):
        state, metrics = step(state, devices.place_batch(batch))
        losses += [float(metrics[name]) for name in sorted(metrics) if name.startswith("loss")]
    return losses, jax.device_get(state)


@pytest.mark.parametrize("method", ARGUMENTS)
@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_four_devices_are_as_one(method, mode):
    if method == "diffusion" and mode == "pmap":
        pytest.skip("no example depends on another")
    alone, state = steps_of(method, 1, "jit")
    losses, spread = steps_of(method, 4, mode)
    np.testing.assert_allclose(losses, alone, rtol=1e-4)
    for a, b in zip(jax.tree.leaves(state.extra), jax.tree.leaves(spread.extra), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_classes_are_hidden_from_as_many_as_asked():
    _, config = parse([*ARGUMENTS["diffusion"], "--diffusion.hide-class", "0.3"])
    data = load_dataset(config.data, 8, 1)
    task = make_task(config, data, 20, None)
    label = np.arange(4000, dtype=np.int32) % 10
    batch = {"image": np.zeros((4000, 8, 8, 1), np.uint8), "label": label}
    inputs = task.prepare(step_keys(0, jnp.int32(0))[0], batch)
    hidden = np.asarray(inputs["labels"]) == 10
    assert hidden.mean() == pytest.approx(0.3, abs=0.03)
    np.testing.assert_array_equal(np.asarray(inputs["labels"])[~hidden], label[~hidden])
    assert np.bincount(inputs["t"], minlength=40).min() > 50
    assert np.asarray(inputs["t"]).max() == 39
    assert float(jnp.std(inputs["noise"])) == pytest.approx(1, abs=0.01)
    assert np.all(np.asarray(inputs["images"]) == -1)


def test_a_collapsed_gan_is_said(root, capsys):
    train(root, "collapsed", "gan", "--optim.lr", "1e-9", "--epochs", "1")  # grey as at first
    said = " ".join(capsys.readouterr().out.split())
    assert "the samples have collapsed: two of them differ by" in said
    assert alarm({"diversity": 0.9}) is None
    assert "5% of what" in alarm({"diversity": 0.05})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["digits-dcgan", "--method", "diffusion"], "trains a unet, and --model.name is dcgan"),
        (["digits", "--model.name", "dcgan"], "give --method gan"),
        (["digits", "--diffusion.steps", "100"], "--diffusion options are of --method diffusion"),
        (["digits-dcgan", "--model.img-size", "12"], "one of 8, 16, 32, 64, 128"),
        (["digits-ddpm", "--model.img-size", "9"], "give a multiple of 2"),
        (["digits-ddpm", "--model.width", "6"], "--model.width 6 does not fit a U-Net"),
        (["digits-ddpm", "--model.width", "130"], "--model.width 130 does not fit a U-Net"),
        (["digits-ddpm", "--diffusion.sample-steps", "2000"], "give at most as many"),
        (["digits-ddpm", "--diffusion.hide-class", "0"], "--diffusion.guidance 1.5 compares"),
        (["digits-ddpm", "--label-smoothing", "0.1"], "--label-smoothing 0.1 does not fit"),
        (["digits-ddpm", "--augment.mixup-alpha", "1"], "which would learn to make such images"),
        (["digits-ddpm", "--data.mean", "0.3"], "--data.mean must be .5"),
        (["digits-ddpm", "--model.z-dim", "3"], "--model.z-dim 3 is no option of --model.name"),
        (["digits-ddpm", "--find-lr"], "--find-lr True is of classification"),
        (["digits-ddpm", "--init.weights", "x"], "--init.weights x does not fit"),
        (["digits-ddpm", "--monitor", "accuracy"], "--monitor accuracy is no metric"),
        (["digits", "--data.extra-share", "0.5"], "--data.extra-share 0.5 is that of"),
        (
            ["digits-dcgan", "--method", "diffusion", "--model.name", "unet"],
            "--model.name unet needs --model.channel-multipliers",
        ),
        (["digits-ddpm", "--model.attention-sizes", "5"], "--model.attention-sizes 5 is no side"),
        (["digits-ddpm", "--model.no-conditional"], "--diffusion.guidance 1.5 compares"),
    ],
)
def test_an_option_that_does_not_fit_is_one_line(given, words, tmp_path):
    def prepared() -> None:
        _, config = parse([*given, "--out", str(tmp_path / "run")])
        make_task(config, load_dataset(config.data, 8, 1), 10, None)

    with pytest.raises(UserError, match=words.replace(".", r"\.")) as error:
        prepared()
    assert "\n" not in str(error.value)


def test_loss_that_is_not_finite_stops(root, capsys):
    args = [*ARGUMENTS["diffusion"], "--out", str(root / "nan"), "--optim.lr", "1e20"]
    assert train_jax.main([*args, "--data.cache-dir", str(root / "cache")]) == 3
    assert "lower --optim.lr" in capsys.readouterr().err


def sample(root, run: str, out: str, *more: str) -> int:
    return main(["sample", str(root / run), "--out", str(root / out), *more])


@pytest.mark.parametrize("run", ARGUMENTS)
def test_samples_do_not_depend_on_the_size_of_batches(root, run, capsys):
    for size in ("64", "7"):
        assert sample(root, run, f"{run}{size}", "--n", "33", "--batch-size", size) == 0
    files = sorted(p.relative_to(root / f"{run}64") for p in (root / f"{run}64").rglob("*.png"))
    assert len(files) == 33
    assert str(files[0]) == "0/00000.png"
    assert str(files[-1]) == "9/00029.png"
    for file in files:
        a, b = (np.asarray(Image.open(root / f"{run}{size}" / file), int) for size in (64, 7))
        assert np.abs(a - b).max() <= 1, file
    assert sample(root, run, f"{run}.npz", "--n", "33") == 0
    with np.load(root / f"{run}.npz") as saved:
        assert saved["images"].shape == (33, 8, 8, 1)
        assert saved["labels"].tolist() == [i % 10 for i in range(33)]
        assert saved["class_names"].tolist() == [str(i) for i in range(10)]
        first = np.asarray(Image.open(root / f"{run}64" / "1" / "00021.png"), int)
        assert np.abs(first - saved["images"][21, ..., 0].astype(int)).max() <= 1
    assert "33 images in" in capsys.readouterr().err


def test_a_class_and_a_seed_are_heard(root):
    assert sample(root, "gan", "threes", "--class", "3", "--n", "5") == 0
    assert {p.parent.name for p in (root / "threes").rglob("*.png")} == {"3"}
    assert sample(root, "gan", "s1.npz", "--n", "5") == 0
    assert sample(root, "gan", "s2.npz", "--n", "5", "--seed", "1") == 0
    with np.load(root / "s1.npz") as a, np.load(root / "s2.npz") as b:
        assert not np.array_equal(a["images"], b["images"])


def test_the_sampler_is_that_which_was_asked_for(root):
    made = {}
    for name, more in {
        "own": (), "two": ("--steps", "2"), "all": ("--steps", "0"), "eta": ("--eta", "1"),
        "strong": ("--guidance", "90"), "same": ("--steps", "4", "--guidance", "1.5"),
    }.items():  # fmt: skip
        assert sample(root, "diffusion", f"{name}.npz", "--n", "4", *more) == 0
        with np.load(root / f"{name}.npz") as saved:
            made[name] = saved["images"]
    np.testing.assert_array_equal(made["own"], made["same"])
    others = [made[name] for name in ("own", "two", "all", "eta", "strong")]
    for i, a in enumerate(others):
        for b in others[i + 1 :]:
            assert not np.array_equal(a, b)


@pytest.mark.parametrize(
    ("run", "given", "words"),
    [
        ("gan", ["--steps", "3"], "of diffusion, and"),
        ("gan", ["--class", "x"], "--class x is none of"),
        ("diffusion", ["--steps", "41"], "--steps 41 is more than the 40"),
        ("diffusion", ["--eta", "1", "--steps", "0"], "ancestral sampler"),
        ("nothing", [], "is not a run directory"),
    ],
)
def test_what_cannot_be_sampled_is_one_line(root, run, given, words, capsys):
    assert sample(root, run, "never", *given) == 2
    error = capsys.readouterr().err.strip()
    assert words in error
    assert "\n" not in error
    assert not (root / "never").exists()


def test_a_place_that_cannot_be_written_is_said_before_the_work(root, capsys, monkeypatch):
    monkeypatch.setattr("jaxvit.commands.sample.make_samples", None)
    for out in ("/proc/x", "/proc/x.npz"):
        assert main(["sample", str(root / "gan"), "--out", out]) == 2
        assert f"--out {out} cannot be written" in capsys.readouterr().err


def test_what_is_written_after_a_signal_is_not_left_behind(root, monkeypatch, tmp_path):
    """The staging folder is moved away while images are saved: saving fails."""
    images, labels = np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 0, 1])
    staging = tmp_path / "staging"
    staging.mkdir()
    save, saved = Image.Image.save, []

    def moves(self, path, *args, **options):
        save(self, path, *args, **options)
        saved.append(path)
        if len(saved) == 2:
            staging.rename(tmp_path / "trash")

    monkeypatch.setattr(Image.Image, "save", moves)
    with pytest.raises(OSError, match="No such file"):
        save_images(staging, images, labels, ("a", "b"))
    assert not staging.exists()


def test_nothing_is_written_over(root, capsys):
    (root / "there").mkdir(exist_ok=True)
    assert sample(root, "gan", "there") == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["sample", str(root / "gan"), "--out", str(root / "gan" / "in")]) == 2
    assert "lies in the run" in capsys.readouterr().err


def test_a_generator_is_refused_where_a_model_of_images_is_asked_for(root, capsys):
    for command in (["predict", str(root / "gan"), "x.png"], ["inspect", str(root / "gan")]):
        assert main(command) == 2
        assert f"python -m jaxvit sample {root / 'gan'}" in capsys.readouterr().err
    assert main(["average", str(root / "gan")]) == 2
    assert "--optim.ema-decay" in capsys.readouterr().err


def test_quality_is_that_of_the_features_and_the_classifier(root, capsys):
    classifier = root / "classifier"
    args = ["digits", "--epochs", "3", "--model.embed-dim", "16", "--model.num-layers", "1"]
    assert (
        train_jax.main([*args, "--out", str(classifier), "--data.cache-dir", str(root / "c")]) == 0
    )
    given = [str(root / "gan"), "--features", str(classifier), "--classifier", str(classifier)]
    given += ["--n", "40", "--seed", "3", "--json", str(root / "q.json")]
    capsys.readouterr()
    assert main(["quality", *given]) == 0
    said = capsys.readouterr().out
    found = json.loads((root / "q.json").read_text())
    assert sample(root, "gan", "q.npz", "--n", "40", "--seed", "3") == 0
    with np.load(root / "q.npz") as saved:
        made, labels = saved["images"], saved["labels"]
    (train_images, _), (test_images, test_labels) = (
        images_of(root, "gan", split) for split in ("train", "test")
    )
    from jaxvit.interop.saved_run import load_run

    run = load_run(classifier)

    def features(images):
        x = jnp.asarray((images / 255 - 0.305) / 0.376, jnp.float32)
        return np.asarray(run.model.apply({"params": run.params}, x, True, method="features"))

    def frechet(a, b):
        (m, s), (n, t) = ((x.mean(0), np.cov(x, rowvar=False)) for x in (a, b))
        return ((m - n) ** 2).sum() + np.trace(s + t) - 2 * np.trace(sqrtm(s @ t).real)

    def mmd(a, b):
        k = lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3  # noqa: E731
        off = lambda x: (k(x, x).sum() - np.trace(k(x, x))) / len(x) / (len(x) - 1)  # noqa: E731
        return off(a) + off(b) - 2 * k(a, b).mean()

    for name, images, truth in (("samples", made, labels), ("test", test_images, test_labels)):
        a, b = (features(each).astype(np.float64) for each in (images, train_images))
        assert found[name]["n"] == len(images)
        assert found[name]["kernel"] == pytest.approx(mmd(a, b), rel=1e-3, abs=1e-5)
        assert found[name]["kernel_low"] < found[name]["kernel"] < found[name]["kernel_high"]
        assert found[name]["frechet"] == pytest.approx(frechet(a, b), rel=1e-2)
        for part in ("frechet", "accuracy"):
            assert found[name][f"{part}_low"] <= found[name][part] <= found[name][f"{part}_high"]
        balls = np.sort(np.linalg.norm(a[:, None] - a[None], axis=-1), axis=1)[:, 3]
        reached = (np.linalg.norm(b[:, None] - a[None], axis=-1) <= balls).any(axis=1).mean()
        assert found[name]["recall"] == pytest.approx(reached, abs=1.5 / len(b))
        inside = np.linalg.norm(a[:, None] - b[None], axis=-1)
        radius = np.sort(np.linalg.norm(b[:, None] - b[None], axis=-1), axis=1)[:, 3]
        share = (inside <= radius).any(axis=1).mean()
        assert found[name]["precision"] == pytest.approx(share, abs=1.5 / len(images))
        predicted = run.probabilities(images).argmax(axis=1)
        assert found[name]["accuracy"] == pytest.approx((predicted == truth).mean())
        assert f"{found[name]['accuracy']:.1%}" in said


def test_generated_images_are_trained_on_alone_and_named(root, capsys):
    assert sample(root, "gan", "extra", "--n", "200") == 0
    args = ["digits", "--epochs", "1", "--model.embed-dim", "16", "--model.num-layers", "1",
            "--data.train-per-class", "13", "--data.extra-dir", str(root / "extra"),
            "--data.extra-share", "0.4", "--data.cache-dir", str(root / "cache")]  # fmt: skip
    assert train_jax.main([*args, "--out", str(root / "with")]) == 0
    assert "of these, 90 training images" in " ".join(capsys.readouterr().out.split())
    split = json.loads((root / "with" / "split.json").read_text())
    alone = json.loads((root / "gan" / "split.json").read_text())
    assert split["train"].items() > alone["train"].items()
    assert split["val"] == alone["val"]
    assert split["test"] == alone["test"]
    extra = [name for name in split["train"] if name.startswith("extra/")]
    assert len(extra) == split["extra_images"] == 90  # 13 * .4 / .6 = 8.67 of each class
    assert len(split["train"]) == 220
    assert all(name.startswith("extra/0/") for name in extra)
    classes = [name.split("/")[2] for name in extra]
    assert classes == sorted(classes)
    assert {classes.count(each) for each in classes} == {9}
    _, config = parse([*args])
    train = load_dataset(config.data, 8, 1).train
    for row in (0, 129, 130, 175, 219):
        name = train.names[row]
        if name.startswith("extra/"):
            pixels = np.asarray(Image.open(root / name.replace("extra/0", "extra")))
            assert split["train"][name] == f"{zlib.crc32(pixels.tobytes()):08x}"
            assert train.labels[row] == int(name.split("/")[2])
        else:
            index = int(name.partition("/")[2])
            pixels = np.round(load_digits().images[index] * (255 / 16)).astype(np.uint8)
        np.testing.assert_array_equal(train.images(np.array([row]))[0, ..., 0], pixels)
    mixed = train.images(np.array([219, 0, 130]))
    np.testing.assert_array_equal(mixed[1], train.images(np.array([0]))[0])
    np.testing.assert_array_equal(mixed[2], train.images(np.array([130]))[0])


def test_two_runs_make_half_of_the_images_each(root, capsys):
    args = ["digits", "--epochs", "1", "--model.embed-dim", "16", "--model.num-layers", "1",
            "--data.train-per-class", "13", "--data.cache-dir", str(root / "cache"),
            "--data.extra-dir", str(root / "gan"), str(root / "diffusion")]  # fmt: skip
    assert train_jax.main([*args, "--out", str(root / "both")]) == 0
    split = json.loads((root / "both" / "split.json").read_text())
    extra = [name for name in split["train"] if name.startswith("extra/")]
    assert len(extra) == split["extra_images"] == 60  # 13 * .3 / .7 = 5.57 of each class
    places = [name.split("/")[1] for name in extra]
    assert [places.count(each) for each in dict.fromkeys(places)] == [30, 30]
    assert list(dict.fromkeys(places)) == ["0", "1"]
    made = sorted((root / "cache").glob("samples-*/"))
    assert [len(list(place.rglob("*.png"))) for place in made] == [30, 30]
    # What the first run makes from the seed of the split, three of each class in turn.
    saved = load_generator(root / "gan")
    key = jax.random.fold_in(jax.random.key(0), 4)
    image = saved.model.apply(saved.weights, jax.random.normal(key, (1, 6)), jnp.array([1]))
    expected = np.round((np.asarray(image)[0, ..., 0] + 1) * 127.5)
    found = [np.asarray(Image.open(place / "1" / "00004.png"), int) for place in made]
    assert min(np.abs(image - expected).max() for image in found) <= 1
    (made[0] / "3" / "00010.png").unlink()  # what is missing is made again
    again = [*args, "--out", str(root / "again")]
    capsys.readouterr()
    assert train_jax.main(again) == 0
    assert capsys.readouterr().out.count("batches of images") == 1
    assert train_jax.main([*args, "--out", str(root / "third")]) == 0
    assert "batches of images" not in capsys.readouterr().out
    of_other = json.loads((root / "again" / "split.json").read_text())
    assert of_other == split
    # Its page and its scores are of real images alone, also where the generator is gone.
    (root / "gan").rename(root / "moved")
    try:
        assert main(["report", str(root / "both")]) == 0
        for split in ("train", "test"):
            given = [str(root / "both"), split, "--json", str(root / f"{split}.json")]
            assert main(["evaluate", *given, "--report", str(root / "r.html")]) == 0
    finally:
        (root / "moved").rename(root / "gan")
    summary = json.loads((root / "both" / "summary.json").read_text())
    assert json.loads((root / "train.json").read_text())["n"] == 130
    evaluated = json.loads((root / "test.json").read_text())
    assert evaluated["accuracy"] == pytest.approx(summary["test/accuracy"])


def test_a_generator_that_has_seen_images_that_are_scored_is_refused(root):
    _, config = parse(["digits", "--data.train-per-class", "13", "--data.split-seed", "1",
                       "--data.extra-dir", str(root / "gan")])  # fmt: skip
    with pytest.raises(UserError, match=r"was trained on \d+ images that validate or test here"):
        with_sampled(config.data, no_tracking)


def test_images_of_a_class_are_chosen_by_the_seed_of_the_split():
    chosen = {}
    for seed in ("0", "1"):
        given = ["digits", "--data.train-per-class", "3", "--data.split-seed", seed]
        whole, few = (load_dataset(parse(args)[1].data, 8, 1) for args in (
            ["digits", "--data.split-seed", seed], given))  # fmt: skip
        assert set(few.train.names) < set(whole.train.names)
        assert few.val.names == whole.val.names
        assert np.bincount(few.train.labels).tolist() == [3] * 10
        pixels = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
        for row, name in enumerate(few.train.names):
            image = few.train.images(np.array([row]))[0, ..., 0]
            np.testing.assert_array_equal(image, pixels[int(name.partition("/")[2])])
        chosen[seed] = few.train.names
    assert set(chosen["0"]) != set(chosen["1"])
    # Of the same images, too.
    source, rows = find_source(config := parse(["digits"])[1].data), np.arange(400)
    few = [
        _so_many(source, rows, replace(config, train_per_class=3, split_seed=seed)).tolist()
        for seed in (0, 0, 1)
    ]
    assert few[0] == few[1] != few[2]


def test_too_few_generated_images_are_one_line(root, tmp_path):
    (tmp_path / "e" / "3").mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "e" / "3" / "0.png")
    given = ["digits", "--data.extra-dir", str(tmp_path / "e")]
    _, config = parse(given)
    with pytest.raises(UserError, match=r"has 0 images of class '0', and --data.extra-share 0.3"):
        load_dataset(config.data, 8, 1)
    (tmp_path / "e" / "cat").mkdir()
    with pytest.raises(UserError, match="has a folder 'cat', which is no class"):
        load_dataset(config.data, 8, 1)
    _, config = parse(["digits", "--data.extra-dir", str(tmp_path), "--data.extra-share", ".001"])
    with pytest.raises(UserError, match=r"--data.extra-share 0.001 takes no image of"):
        load_dataset(config.data, 8, 1)
    with pytest.raises(UserError, match="names a place twice"):
        parse(["digits", "--data.extra-dir", str(tmp_path), str(tmp_path)])
    (tmp_path / "empty").mkdir()
    _, config = parse(["digits", "--data.extra-dir", str(tmp_path / "empty")])
    with pytest.raises(UserError, match=r"has 0 images of class '0'"):
        load_dataset(config.data, 8, 1)
    _, config = parse(["digits", "--data.extra-dir", str(tmp_path / "none")])
    with pytest.raises(UserError, match="is not a directory"):
        load_dataset(config.data, 8, 1)
