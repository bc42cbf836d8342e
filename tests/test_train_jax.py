"""The whole command: the files that it writes, and what it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import train_jax
from jaxvit.augment.pipeline import make_augment
from jaxvit.command_line import parse
from jaxvit.errors import UserError
from jaxvit.interop.saved_run import classify, load_run
from jaxvit.runs.directory import RunDirectory
from jaxvit.runtime.devices import make_devices
from jaxvit.tasks import configured

ROOT = Path(train_jax.__file__).parent
TINY = [
    "--epochs", "2", "--model.embed-dim", "16", "--model.num-layers", "1", "--log-every-steps", "9",
    "--optim.ema-decay", "0.9",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run, its summary, and the output on the terminal."""
    root = tmp_path_factory.mktemp("run")
    console = Console(record=True, width=120, file=open(os.devnull, "w"))  # noqa: SIM115
    args = [*TINY, "--out", str(root / "run"), "--data.cache-dir", str(root / "cache")]
    name, config = parse(args)
    with RunDirectory(config) as directory:
        summary = train_jax.train(name, config, make_devices(config), directory, console)
    return root / "run", summary, console.export_text()


def test_a_run_writes_its_documented_files_and_summary(run):
    path, summary, _ = run
    names = {p.name for p in path.iterdir()}
    assert {"config.json", "metrics.jsonl", "summary.json", "split.json"} <= names
    assert {"checkpoints", "plots"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert json.loads((path / "summary.json").read_text()) == summary
    assert json.loads((path / "config.json").read_text())["model"]["embed_dim"] == 16
    for name in ("accuracy", "precision_macro", "recall_macro", "f1_macro", "loss", "ece",
                 "mean_confidence"):  # fmt: skip
        assert f"test/{name}" in summary
        assert f"val/{name}" in summary["best"]
        assert f"val/{name}" in summary["last"]
    assert summary["best"]["val/accuracy"] >= summary["last"]["val/accuracy"]
    for name in ("parameters", "steps", "images_per_sec", "wall_sec", "compile_sec"):
        assert summary[name] > 0
    assert summary["versions"]["jax"]
    assert summary["device"]["count"] == 4


def test_metrics_have_a_line_for_each_logged_step_and_each_epoch(run):
    path, summary, _ = run
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    train = [line["step"] for line in lines if "train/loss" in line]
    val = [line["step"] for line in lines if "val/loss" in line]
    assert val == [20, 39]  # 1,222 examples in batches of 64
    assert train == sorted({*range(9, 40, 9), *val})
    assert all(np.isfinite(line["train/grad_norm"]) for line in lines if "train/loss" in line)
    assert summary["steps"] == 39


def test_every_plot_is_an_image_that_is_not_blank(run):
    path, *_ = run
    pictures = sorted((path / "plots").glob("*.png"))
    assert [p.stem for p in pictures] == [
        "augmented_images", "confusion_matrix", "curves", "mistakes", "reliability"
    ]  # fmt: skip
    for picture in pictures:
        pixels = np.asarray(Image.open(picture).convert("RGB"))
        assert min(pixels.shape[:2]) > 300
        assert pixels.std() > 10


def test_tensorboard_reads_the_events(run):
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    path, summary, _ = run
    events = event_accumulator.EventAccumulator(str(path)).Reload()
    assert {"train/loss", "val/accuracy"} <= set(events.Tags()["scalars"])
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for name in ("train/loss", "val/accuracy"):
        found = [(event.step, event.value) for event in events.Scalars(name)]
        expected = [(line["step"], pytest.approx(line[name])) for line in lines if name in line]
        assert found == expected
    assert "confusion_matrix" in events.Tags()["images"]
    assert events.Images("confusion_matrix")[0].step == summary["steps"]


def test_the_terminal_shows_epochs_and_test_accuracy(run):
    _, summary, shown = run
    assert "epoch   2/2" in shown
    assert f"test accuracy {summary['test/accuracy']:.2%}" in shown


def test_the_terminal_shows_what_is_decoded_and_what_will_be_trained(run):
    _, summary, shown = run
    numbers = summary["images"]
    assert f"decoding images: {numbers['train'] + numbers['val']}" in shown
    assert f"digits: {summary['parameters']:,} parameters, 39 steps in 2 epochs on 4 cpu" in shown


def test_an_old_run_is_replaced_only_by_overwrite_and_only_after_the_data_is_found(run, capsys):
    path, *_ = run
    before = (path / "summary.json").read_bytes()
    assert train_jax.main([*TINY, "--out", str(path)]) == 2
    assert "already holds a run" in capsys.readouterr().err
    broken = [
        "pets-small",
        "--data.dir",
        str(path.parent / "nowhere"),
        "--out",
        str(path),
        "--overwrite",
    ]
    assert train_jax.main(broken) == 2
    assert "is not a directory" in capsys.readouterr().err
    assert (path / "summary.json").read_bytes() == before


def test_overwrite_never_removes_files_that_no_run_has_written(tmp_path, capsys, monkeypatch):
    (tmp_path / "config.json").write_text('{"epochs": 1, "data": 1, "model": 1, "optim": 1}')
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    for out in (".", str(tmp_path)):
        assert train_jax.main([*TINY, "--out", out, "--overwrite"]) == 2
        assert "holds 'photos', which no run has made" in capsys.readouterr().err
    assert (tmp_path / "config.json").exists()


def test_a_foreign_config_json_does_not_make_a_run_directory(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert train_jax.main([*TINY, "--out", str(tmp_path), "--overwrite"]) == 2
    assert "is not a run directory" in capsys.readouterr().err
    assert (tmp_path / "config.json").exists()


@pytest.mark.slow
def test_pmap_bfloat16_remat_and_vit_train_and_are_scored(run, tmp_path):
    path, *_ = run
    args = [
        *TINY, "--out", str(tmp_path / "run"), "--data.cache-dir", str(path.parent / "cache"),
        "--parallel.mode", "pmap", "--model.dtype", "bfloat16", "--model.remat",
        "--model.init", "vit", "--model.dropout", "0.1",
    ]  # fmt: skip
    assert train_jax.main(args) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert np.isfinite(summary["test/loss"])


def test_a_directory_that_is_no_run_is_never_replaced(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("two years of work")
    assert train_jax.main([*TINY, "--out", str(tmp_path), "--overwrite"]) == 2
    assert "is not a run directory" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").exists()


def test_an_out_directory_that_cannot_be_written_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    args = [*TINY, "--data.cache-dir", str(tmp_path / "cache"), "--out", str(tmp_path / "file/run")]
    assert train_jax.main(args) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.slow
def test_a_folder_of_images_trains(tmp_path, pets_root):
    for path in sorted((pets_root / "oxford-iiit-pet" / "images").glob("*_1?0.jpg")):
        breed = path.name.rpartition("_")[0]
        target = tmp_path / "images" / ("cats" if breed[0].isupper() else "dogs") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    args = [
        "pets-small", "--data.name", "folder", "--data.dir", str(tmp_path / "images"),
        "--data.cache-dir", str(tmp_path / "cache"), "--out", str(tmp_path / "run"),
        "--epochs", "1", "--batch-size", "16", "--model.img-size", "32",
        "--model.embed-dim", "16", "--model.num-layers", "1",
    ]  # fmt: skip
    assert train_jax.main(args) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["test/accuracy"] > 0

    saved = load_run(tmp_path / "run")
    assert saved.config == parse(args)[1]
    assert saved.class_names == ("cats", "dogs")
    right = 0
    split = json.loads((tmp_path / "run" / "split.json").read_text())["test"]
    for name in split:
        shares = classify(saved, tmp_path / "images" / name)
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        right += next(iter(shares)) == name.partition("/")[0]
    assert right / len(split) == summary["test/accuracy"]
    with pytest.raises(UserError, match="is not a run directory"):
        load_run(tmp_path / "images")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nonsense"], "unknown preset 'nonsense'"),
        (["--model.num-heads", "7"], "not divisible by --model.num-heads 7"),
        (["pets-small", "--data.dir", "nowhere"], "--data.dir nowhere is not a directory"),
        (["--batch-size", "63"], "--batch-size 63 does not divide over 2 devices"),
    ],
)
def test_a_wrong_option_is_one_line_on_stderr_and_exit_code_2(tmp_path, args, message):
    done = subprocess.run(
        [sys.executable, str(ROOT / "train_jax.py"), *args, "--out", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert message in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_missing_platform_is_an_error_of_one_line(tmp_path):
    command = [sys.executable, str(ROOT / "train_jax.py"), "--out", str(tmp_path / "run")]
    environment = os.environ | {"JAX_PLATFORMS": "bogus"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    (error,) = done.stderr.splitlines()
    assert "error: JAX cannot use the platform that JAX_PLATFORMS asks for" in error


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The figures of a run, what they were drawn from, and the run's directory."""
    seen, draw, root = [], configured.draw_report, tmp_path_factory.mktemp("drawn")

    def spy(results, config, data):
        seen.append((draw(results, config, data), results, config, data))
        return seen[-1][0]

    args = ["--seed", "3", "--out", str(root / "run"), "--data.cache-dir", str(root / "cache")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(configured, "draw_report", spy)
        assert train_jax.main([*TINY, *args]) == 0
    return *seen[0], root / "run"


def test_pictures_show_the_values_of_the_run(drawn):
    """Confusion and reliability by class and bin, and the names of predicted and true classes."""
    figures, results, _, data, out = drawn
    rows = np.zeros(10, int)
    for text in figures["confusion_matrix"].axes[0].texts:
        rows[int(text.get_position()[1])] += int(text.get_text())
    np.testing.assert_array_equal(rows, np.bincount(data.test.labels, minlength=10))

    found = results.evaluation.outputs
    wrong = np.flatnonzero(found.label != data.test.labels)
    first = wrong[np.argsort(-found.confidence[wrong], kind="stable")[0]]
    expected = (
        f"said {found.label[first]} {found.confidence[first]:.0%}\n"
        f"is {data.test.labels[first]} {found.label_probability[first]:.0%}\n"
        f"{data.test.names[first].rpartition('/')[2]}"
    )
    assert figures["mistakes"].axes[0].get_title() == expected

    accuracy, number = figures["reliability"].axes
    assert sum(bar.get_height() for bar in number.patches) == len(data.test)
    bins = np.minimum((found.confidence * 15).astype(int), 14)
    right = found.label == data.test.labels
    shares = [right[bins == b].mean() for b in range(15) if (bins == b).any()]
    np.testing.assert_allclose([bar.get_height() for bar in accuracy.patches], shares)

    best = json.loads((out / "summary.json").read_text())["best"]
    (ring,) = [x for x in figures["curves"].axes[0].lines if x.get_marker() == "o"]
    assert ring.get_xdata()[0] == best["step"]
    assert ring.get_ydata()[0] == best["val/loss"]


def test_pictures_show_the_scores_of_the_test_split_and_the_chance_of_validation(drawn):
    figures, results, _, data, out = drawn
    summary = json.loads((out / "summary.json").read_text())
    accuracy, low, high = (summary[f"test/accuracy{end}"] for end in ("", "_low", "_high"))
    assert figures["confusion_matrix"].axes[0].get_title() == (
        f"test: {accuracy:.1%} of {len(data.test)} (95 % interval {low:.1%} to {high:.1%})"
    )
    title = figures["reliability"].axes[0].get_title()
    assert title == f"test: expected calibration error {summary['test/ece']:.3f}"
    loss, share, _ = figures["curves"].axes
    (chance,) = [x for x in share.lines if str(x.get_label()).startswith("chance")]
    assert chance.get_ydata()[0] == np.bincount(data.val.labels).max() / len(data.val)
    for axis, name in ((loss, "loss"), (share, "accuracy")):
        (line,) = [x for x in axis.lines if x.get_label() == "validation"]
        expected = [x[f"val/{name}"] for x in results.lines if f"val/{name}" in x]
        assert line.get_ydata().tolist() == expected


def test_the_picture_of_mistakes_shows_the_images_that_its_titles_name(drawn):
    figures, results, _, data, _ = drawn
    shown = [axis for axis in figures["mistakes"].axes if axis.images]
    wrong = np.flatnonzero(results.evaluation.outputs.label != data.test.labels)
    assert len(shown) == min(24, len(wrong))
    for axis in shown:
        name = "digits/" + axis.get_title().splitlines()[-1]
        pixels = data.test.take(np.array([data.test.names.index(name)]))["image"]
        np.testing.assert_allclose(axis.images[0].get_array(), pixels.squeeze() / 255)


def test_the_picture_of_augmented_images_shows_training_images_as_the_first_step_sees_them(drawn):
    figures, results, config, data, _ = drawn
    batch, even = data.train.take(np.linspace(0, len(data.train) - 1, 32).astype(int)), 0.1 / 10
    targets = np.eye(10, dtype=np.float32)[batch["label"]] * 0.9 + even  # smoothed by 0.1
    key, _ = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 0))
    augment = jax.jit(make_augment(config.augment, config.data.mean, config.data.std))
    images, targets = augment(key, batch["image"], jnp.asarray(targets))
    np.testing.assert_allclose(results.inputs["targets"], targets, atol=1e-6)
    pixels = np.clip(np.asarray(images) * config.data.std + np.array(config.data.mean), 0, 1)
    axes = [axis for axis in figures["augmented_images"].axes if axis.images]
    for axis, image, target in zip(axes, pixels, results.inputs["targets"], strict=True):
        np.testing.assert_allclose(axis.images[0].get_array(), image.squeeze(), atol=1e-5)
        of = [k for k in np.argsort(-target) if target[k] > even + 0.005]
        assert axis.get_title() == "\n".join(f"{k} {target[k]:.2f}" for k in of)
