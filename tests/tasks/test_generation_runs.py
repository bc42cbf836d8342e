"""Runs that make images: what is reported, saved and resumed."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from PIL import Image

import train_jax
from jaxvit.__main__ import main
from jaxvit.command_line import parse
from jaxvit.commands import pages
from jaxvit.data.cache import no_tracking
from jaxvit.data.datasets import load_dataset
from jaxvit.data.decoded import Dataset
from jaxvit.data.loader import train_batches
from jaxvit.errors import UserError
from jaxvit.interop.saved_generator import load_generator
from jaxvit.objectives.generation import diversity, kernel_distance
from jaxvit.runs.recorder import Recorder
from jaxvit.runs.sketches import read_sketches, tiled, write_sketch
from jaxvit.runtime.devices import AXIS, Devices
from jaxvit.tasks import generation_report
from jaxvit.tasks.configured import make_task
from jaxvit.tasks.extra_images import with_sampled
from jaxvit.tasks.generation import alarm, check_enough, make_probe
from jaxvit.training.state import create_state
from jaxvit.training.steps import compile_train_step, step_keys
from jaxvit.training.task import Evaluation, Results
from tests.tasks.compiled import compiled
from tests.tasks.generators import (
    ARGUMENTS,
    SEED,
    WITHOUT_CLASSES,
    by_hand,
    images_of,
    lines_of,
    sample,
    train,
)


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
            image = jax.jit(saved.model.apply)(saved.weights, z, label)
        else:
            image = by_hand(saved, jax.random.split(key, 3)[2], label)
        found = np.round((np.clip(np.asarray(image), -1, 1) + 1) * 127.5)
        assert np.abs(found[0] - samples[row]).max() <= 1


def test_training_sees_augmented_images_and_drops(root):
    _, config = parse([*ARGUMENTS["diffusion"], "--model.dropout", "0.5", "--augment.flip-p", "1"])
    data = load_dataset(config.data, 8, 1)
    task = compiled(make_task(config, data, 20, None))
    batch = data.train.take(np.arange(4), with_index=True)
    inputs = task.prepare(jax.random.key(0), batch)
    expected = batch["image"][:, :, ::-1] / 127.5 - 1
    np.testing.assert_allclose(inputs["images"], expected, atol=1e-6)
    params, extra = task.init(jax.random.key(0))
    params = jax.tree.map(lambda x: x + 0.05, params)  # its last layers begin with zeros
    loss = [float(task.phases[0].loss(params, extra, jax.random.key(seed), inputs)[0])
            for seed in (0, 0, 1)]  # fmt: skip
    assert loss[0] == loss[1] != loss[2]


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.parametrize("given", [["digits-dcgan"], ["digits-ddpm", "--diffusion.guidance", "1"]])
def test_too_few_images_to_compare_with_are_one_line(given, tmp_path):
    for number in range(8):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / f"{number}.png")
    _, config = parse([*given, *WITHOUT_CLASSES, "--data.dir", str(tmp_path)])
    data = load_dataset(config.data, 8, 3)
    with pytest.raises(UserError, match="split has 1 image, and samples are compared"):
        make_task(config, data, 10, None)


@pytest.mark.parametrize("name", ["val", "test"])
def test_each_split_has_to_have_images_to_compare_with(name):
    split = load_dataset(parse([*ARGUMENTS["gan"]])[1].data, 8, 1).test
    scored = (range(1) if each == name else split for each in ("val", "test"))
    data = Dataset(("0",), split, *scored)
    with pytest.raises(UserError, match=f"the {name} split has 1 image"):
        check_enough(data)


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
    apply = jax.jit(saved.model.apply)
    found = apply({"params": saved.weights}, jnp.asarray(noisy, jnp.float32), t, labels)
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
        image = jax.jit(saved.model.apply)(
            saved.weights, jax.random.normal(key, (1, 6)), jnp.asarray(labels[5:6])
        )
        expected = np.round((np.asarray(image)[0] + 1) * 127.5)
        assert np.abs(kept[-1][1][5] - expected).max() <= 1


def test_a_sample_that_copies_is_beside_its_image(root, monkeypatch):
    _, config = parse([*ARGUMENTS["gan"]])
    data, shown = load_dataset(config.data, 8, 1), []
    monkeypatch.setattr(generation_report, "plot_copies", lambda *args: shown.append(args))
    rows = np.array([3, 99, 0])
    generation_report._copies(data.train.images(rows), data.train, data.test)
    ((samples, nearest, distance, of_test),) = shown
    np.testing.assert_array_equal(nearest, samples)
    assert np.all(distance < 1e-6)  # the root of what cancels to 1e-14
    test, real = (
        each.images(np.arange(len(each))).reshape(len(each), -1) / 127.5 - 1
        for each in (data.test, data.train)
    )
    nearest = np.linalg.norm(test[:, None] - real[None], axis=-1).min(axis=1)
    assert np.quantile(nearest, 0.4) < of_test < np.quantile(nearest, 0.6)


def test_the_chosen_metric_of_diffusion_is_monitored():
    _, config = parse([*ARGUMENTS["diffusion"], "--monitor", "kernel_distance"])
    task = make_task(config, load_dataset(config.data, 8, 1), 20, None)
    assert task.monitor[0] == ("kernel_distance", False)


def test_what_the_discriminator_says_of_real_and_of_fake_images_is_reported(root):
    _, config = parse([*ARGUMENTS["gan"]])
    data = load_dataset(config.data, 8, 1)
    task = compiled(make_task(config, data, 20, None))
    assert task.couples
    params, extra = task.init(jax.random.key(0))
    params = jax.tree.map(lambda x: 20 * x + 0.01, params)
    inputs = task.prepare(jax.random.key(0), data.train.take(np.arange(8), with_index=True))
    loss = task.phases[0].loss
    _, (_, found) = loss(params, extra, jax.random.key(1), inputs)
    noisy = inputs | {"images": inputs["images"][::-1] * 0.1}
    _, (_, other) = loss(params, extra, jax.random.key(1), noisy)
    assert found["of_real"] != other["of_real"]
    assert found["of_fake"] == other["of_fake"]


def test_samples_are_events_of_tensorboard(root):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(root / "gan"))
    events.Reload()
    assert len(events.Images("val/samples")) == 2
    assert events.Images("val/samples")[0].width == 64  # 8 x 8 of them


def test_a_damaged_sketch_is_a_picture_less(tmp_path):
    for step in (1, 2):
        write_sketch(tmp_path, "samples", step, np.zeros((2, 4, 4, 1), np.uint8))
    (tmp_path / "sketches" / "samples" / "1.png").write_bytes(b"\x89PNG")
    assert [step for step, _ in read_sketches(tmp_path, {1, 2})["samples"]] == [2]


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


def test_each_picture_of_the_page_has_its_own_heading(root, monkeypatch):
    shown = []
    monkeypatch.setattr(pages, "_picture", lambda path: path.stem)
    monkeypatch.setattr(
        pages,
        "render_generation_page",
        lambda about, metrics, pictures: shown.append(pictures) or "",
    )
    monkeypatch.setattr(pages, "write_text", lambda path, text: None)
    pages.write_run_page(root / "diffusion")
    titles = {picture: title for title, picture in shown[0]}
    assert titles["samples"] == "Images that were made"
    assert titles["progress"] == "The same noise, as training went"
    assert titles["reverse_process"] == "From noise to images"
    assert titles["copies"] == "The nearest training images"


@pytest.mark.slow
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


def steps_of(method: str, count: int, mode: str, *more: str, number: int = 2):
    """The losses of some steps, and the state after them."""
    _, config = parse([*ARGUMENTS[method], *more])
    data = load_dataset(config.data, config.model.img_size, 1)
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_the_discriminators_batches_are_whole_on_four_devices(mode):
    """From 16 pixels on it has BatchNorm."""
    size = ("--model.img-size", "16")
    alone, state = steps_of("gan", 1, "jit", *size)
    losses, spread = steps_of("gan", 4, mode, *size)
    np.testing.assert_allclose(losses, alone, rtol=1e-3)
    assert "norms_0" in state.extra["discriminator"]["batch_stats"]
    for a, b in zip(jax.tree.leaves(state.extra), jax.tree.leaves(spread.extra), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-4)


def test_classes_are_hidden_from_as_many_as_asked():
    _, config = parse([*ARGUMENTS["diffusion"], "--diffusion.hide-class", "0.3"])
    data = load_dataset(config.data, 8, 1)
    task = compiled(make_task(config, data, 20, None))
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
    for key in (step_keys(0, jnp.int32(1))[0], step_keys(1, jnp.int32(0))[0]):
        other = task.prepare(key, batch)
        for name in ("t", "noise"):
            assert not np.array_equal(other[name], inputs[name])


def test_the_noise_of_a_gan_is_normal_and_follows_seed_and_step():
    _, config = parse([*ARGUMENTS["gan"]])
    data = load_dataset(config.data, 8, 1)
    task = compiled(make_task(config, data, 20, None))
    label = np.arange(4000, dtype=np.int32) % 10
    batch = {"image": np.zeros((4000, 8, 8, 1), np.uint8), "label": label}
    first, second, other = (
        task.prepare(step_keys(seed, jnp.int32(step))[0], batch)
        for seed, step in ((0, 0), (0, 1), (1, 0))
    )
    np.testing.assert_array_equal(first["labels"], label)
    z = np.asarray(first["z"])
    assert z.shape == (4000, 6)
    assert z.mean() == pytest.approx(0, abs=0.03)
    assert z.std() == pytest.approx(1, abs=0.02)
    assert (z**4).mean() == pytest.approx(3, abs=0.2)
    assert not np.array_equal(z, second["z"])
    assert not np.array_equal(z, other["z"])


def test_a_collapsed_gan_is_said(root, capsys):
    train(root, "collapsed", "gan", "--optim.lr", "1e-9", "--epochs", "1")  # grey as at first
    said = " ".join(capsys.readouterr().out.split())
    assert "the samples have collapsed: two of them differ by" in said
    assert alarm({"diversity": 0.9}) is None
    assert "5% of what" in alarm({"diversity": 0.05})
    assert alarm({"diversity": 0.29}) is not None
    assert alarm({"diversity": 0.31}) is None


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
        (["digits-ddpm", "--augment.cutmix-alpha", "1"], "which would learn to make such images"),
        (["digits-dcgan", "--augment.cutout-holes", "1"], "which would learn to make such images"),
        (["digits-ddpm", "--data.mean", "0.3"], "--data.mean must be .5"),
        (["digits-ddpm", "--data.std", "0.25"], "--data.std must be .5"),
        (["digits-ddpm", "--model.z-dim", "3"], "--model.z-dim 3 is no option of --model.name"),
        (["digits-dcgan", "--find-lr"], "--find-lr follows one loss, and --method gan has two"),
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


@pytest.mark.parametrize("method", ARGUMENTS)
def test_loss_that_is_not_finite_stops(root, method, capsys):
    args = [*ARGUMENTS[method], "--out", str(root / f"nan-{method}"), "--optim.lr", "1e20"]
    assert train_jax.main([*args, "--data.cache-dir", str(root / "cache")]) == 3
    assert "lower --optim.lr" in capsys.readouterr().err


def test_the_report_shows_training_images_and_samples_under_their_class(monkeypatch):
    _, config = parse([*ARGUMENTS["gan"]])
    data, seen = load_dataset(config.data, 8, 1), []
    monkeypatch.setattr(generation_report, "_copies", lambda *args: seen.append(args))
    for name in ("plot_curves", "plot_samples", "plot_progress"):
        monkeypatch.setattr(generation_report, name, lambda *args: args)
    made = data.test.images(np.arange(len(data.test)))
    kept = {"samples": [(step, made[step : step + 20]) for step in (3, 9, 200)]}
    evaluation = Evaluation({}, {}, {"samples": made})
    results = Results([], 0, data.test, evaluation, {}, {}, sketches=kept)
    figures = generation_report.draw_generation(results, config, data)
    assert seen[0][1] is data.train
    assert seen[0][2] is data.test
    order = np.argsort(data.test.labels[:64], kind="stable")
    np.testing.assert_array_equal(figures["samples"][0], made[order])
    steps, images, _ = figures["progress"]
    assert steps == ["step 3", "step 9", "step 200"]
    np.testing.assert_array_equal(images[1], made[9:21])
    losses = ["loss/discriminator", "loss/generator", "of_real/discriminator"]
    assert [curve.name for curve in figures["curves"][1]][:3] == losses
    assert figures["samples"][1] == [str(label) for label in data.test.labels[order]]


def test_the_way_from_noise_is_that_of_the_scored_weights_and_the_test_classes(monkeypatch):
    _, config = parse([*ARGUMENTS["diffusion"], "--seed", "3"])
    data, asked = load_dataset(config.data, 8, 1), []

    def stages(weights, keys, labels):
        numbers = [jax.random.key_data(keys)[:, 1] % 997, labels, weights * jnp.ones(len(labels))]
        return jnp.array([0.75, 0.25, 0.0]), jnp.stack(numbers)

    monkeypatch.setattr(generation_report, "make_stages", lambda *_: stages)
    monkeypatch.setattr(
        generation_report, "compiler_options", lambda *given: asked.append(given) or None
    )
    for name in ("_copies", "plot_curves", "plot_samples", "plot_progress"):
        monkeypatch.setattr(generation_report, name, lambda *args: args)
    evaluation = Evaluation({}, {}, {"samples": data.test.images(np.arange(len(data.test)))})
    results = Results([], 0, data.test, evaluation, {}, 7)
    shares, (keys, labels, weights), _ = generation_report.draw_generation(results, config, data)[
        "reverse_process"
    ]
    assert asked == [(True,)]
    assert shares == ["75% noise", "25% noise", "0% noise"]
    np.testing.assert_array_equal(labels, data.test.labels[:12])
    np.testing.assert_array_equal(weights, np.full(12, 7))
    expected = jax.random.key_data(jax.random.split(jax.random.key(3), 12))[:, 1] % 997
    np.testing.assert_array_equal(keys, expected)


def test_without_classes_all_samples_are_of_one():
    _, config = parse([*ARGUMENTS["gan"]])
    test = load_dataset(config.data, 8, 1).test
    samples = test.images(np.arange(len(test))[::-1])  # the same images beside other labels
    found = make_probe(conditional=False)(lambda split: {"samples": samples}, test)
    assert found["diversity"] == pytest.approx(1)
