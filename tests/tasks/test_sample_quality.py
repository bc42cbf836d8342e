"""What `quality` reports, recomputed from features, classifier and images."""

import json
from dataclasses import replace
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.linalg import sqrtm

import train_jax
from jaxvit.__main__ import main
from jaxvit.commands import quality
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.saved_generator import load_generator
from jaxvit.objectives.generation import Interval
from jaxvit.objectives.metrics import wilson
from jaxvit.tasks.sample_quality import Quality, features_of
from jaxvit.tasks.sampling import Sampling
from parity_tests.foreign_models import timm_model, write_safetensors
from tests.tasks.generators import images_of, sample

pytestmark = pytest.mark.slow  # a DCGAN and a DDPM are trained for them

ENDS = ("low", "high")


@pytest.fixture
def told(monkeypatch):
    """What `quality` hands on, with nothing computed."""
    told = {}

    def load(name, **options):
        told.setdefault("networks", []).append(name)
        return SimpleNamespace(name=name, class_names=tuple(map(str, range(10))))

    def make(saved, labels, seed, sampling=None, track=None):
        told.update(labels=labels.tolist(), sampling=sampling)
        return np.zeros((len(labels), 8, 8, 1), np.uint8)

    def features(network, images, *_):
        told["features"] = network.name
        return np.zeros((len(images), 2))

    one = Interval(0.5, 0.25, 0.75)
    monkeypatch.setattr(quality, "load_pretrained", load)
    monkeypatch.setattr(quality.cli, "load_weights", lambda name, options: load(name))
    monkeypatch.setattr(quality, "make_samples", make)
    monkeypatch.setattr(quality, "features_of", features)
    monkeypatch.setattr(quality, "measure", lambda a, b: Quality(len(a), one, one, one, one))
    return told


def test_quality_measures_the_images_and_the_network_that_are_asked_for(root, told):
    given = ["quality", str(root / "diffusion"), "--features", "net"]
    assert main([*given, "--n", "33", "--steps", "2", "--eta", "1", "--guidance", "3"]) == 0
    assert told["labels"] == [i % 10 for i in range(33)]
    assert told["sampling"] == Sampling(2, 1.0, 3.0)
    assert told["networks"] == [told["features"]] == ["net"]
    assert main(given) == 0
    assert len(told["labels"]) == len(images_of(root, "diffusion", "test")[0])
    assert told["sampling"] == Sampling(4, 0.0, 1.5)


def test_the_classifier_and_the_place_of_the_images_are_those_given(root, told, monkeypatch):
    judges, places, labelled_split = [], [], quality.labelled_split

    def split(run, name, directory, track):
        places.append((name, directory))
        return labelled_split(run, name, None, track)

    def accuracy(judge, images, labels):
        judges.append(judge.name)
        return Interval(0.5, 0.25, 0.75)

    judge = lambda options, saved: SimpleNamespace(name=options.classifier)  # noqa: E731
    monkeypatch.setattr(quality, "_classifier", judge)
    monkeypatch.setattr(quality, "labelled_split", split)
    monkeypatch.setattr(quality, "accuracy_of", accuracy)
    given = ["quality", str(root / "gan"), "--features", "net", "--classifier", "other"]
    assert main([*given, "--n", "40", "--data-dir", "moved"]) == 0
    assert judges == ["other", "other"]
    assert [(name, str(place)) for name, place in places] == [("train", "moved"), ("test", "moved")]


def test_a_classifier_of_other_classes_is_refused(root, told, monkeypatch, capsys):
    def other(name):
        return SimpleNamespace(name=name, class_names=("a",) * 10)

    monkeypatch.setattr(quality, "load_pretrained", other)
    given = ["quality", str(root / "gan"), "--features", "net", "--classifier", "other"]
    assert main(given) == 2
    assert "--classifier other has other classes than" in capsys.readouterr().err


@pytest.mark.parametrize("channels", [1, 3])
def test_features_are_those_of_a_foreign_network_at_its_own_size(channels, tmp_path):
    """A tiny ViT in timm's layout, of 16 pixels and three channels, as DINOv2's is read."""
    net = timm_model(img_size=16, patch_size=8, num_classes=0, num_heads=3)
    path = write_safetensors(net, tmp_path / "net.safetensors")
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, channels), np.uint8)
    network = load_pretrained(str(path), options={"num_heads": 3, "crop_share": 1.0})
    found = features_of(network, images)
    pictures = (Image.fromarray(np.broadcast_to(image, (8, 8, 3))) for image in images)
    larger = [picture.resize((16, 16), Image.Resampling.BICUBIC) for picture in pictures]
    pixels = torch.tensor(np.stack(larger) / 127.5 - 1, dtype=torch.float32)
    with torch.no_grad():
        expected = net.eval()(pixels.permute(0, 3, 1, 2))
    np.testing.assert_allclose(found, expected, atol=1e-4)


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
        for part, number in (("precision", len(images)), ("recall", len(train_images))):
            expected = wilson(round(found[name][part] * number), number)
            assert expected == pytest.approx(tuple(found[name][f"{part}_{e}"] for e in ENDS))
            assert f"{found[name][part]:.1%} ({expected[0]:.1%} to {expected[1]:.1%})" in said
        predicted = run.probabilities(images).argmax(axis=1)
        assert found[name]["accuracy"] == pytest.approx((predicted == truth).mean())
        assert f"{found[name]['accuracy']:.1%}" in said


def test_weights_options_reach_the_features(root, told, monkeypatch):
    given = []

    def load(name, options):
        given.append((name, options))
        return SimpleNamespace(name=name, class_names=())

    monkeypatch.setattr(quality.cli, "load_weights", load)
    args = ["quality", str(root / "gan"), "--features", "net", "--weights-option", "gelu=tanh"]
    assert main(args) == 0
    assert given == [("net", ("gelu=tanh",))]


def test_each_value_is_printed_by_its_name():
    found = Quality(
        1234, Interval(1.5, 1, 2), Interval(0.25, 0.125, 0.5), Interval(0.7, 0.6, 0.8),
        Interval(0.4, 0.3, 0.5), Interval(0.9, 0.85, 0.95),
    )  # fmt: skip
    assert quality._line("samples", found) == (
        "samples  1,234: Frechet distance 1.5 (1 to 2), kernel distance 0.25 (0.125 to 0.5), "
        "precision 70.0% (60.0% to 80.0%), recall 40.0% (30.0% to 50.0%) (of 3 neighbours), "
        "of their class 90.0% (85.0% to 95.0%)"
    )


def test_samples_are_measured_beside_training_images(root, told, capsys):
    assert main(["quality", str(root / "gan"), "--features", "net", "--n", "40"]) == 0
    number = len(json.loads((root / "gan" / "split.json").read_text())["train"])
    assert f"beside {number:,} training images" in capsys.readouterr().out
    assert number != len(json.loads((root / "gan" / "split.json").read_text())["test"])


def test_of_many_real_images_some_are_drawn_from_all_classes(root, told, monkeypatch):
    """A folder comes class by class, so that the first images are of the first classes."""
    taken = []

    def features(network, images, *_):
        taken.append(images)
        return np.zeros((len(images), 2))

    monkeypatch.setattr(quality, "MOST", 40)
    monkeypatch.setattr(quality, "features_of", features)
    assert main(["quality", str(root / "gan"), "--features", "net", "--n", "40"]) == 0
    for images, split in ((taken[0], "train"), (taken[2], "test")):
        pixels, _ = images_of(root, "gan", split)
        rows = np.random.default_rng(0).permutation(len(pixels))[:40]
        np.testing.assert_array_equal(images, pixels[rows])


def test_a_classifier_of_images_without_a_class_is_refused(root, told, monkeypatch, capsys):
    def without(path, warn):
        saved = load_generator(path, warn)
        model = replace(saved.config.model, conditional=False)
        return saved._replace(config=replace(saved.config, model=model))

    monkeypatch.setattr(quality, "load_generator", without)
    given = ["quality", str(root / "gan"), "--features", "net", "--classifier", "other"]
    assert main(given) == 2
    assert "makes images without a class: leave it out" in capsys.readouterr().err


def test_too_few_real_images_for_an_interval_are_one_line(root, told, monkeypatch, capsys):
    monkeypatch.setattr(quality, "MOST", 29)
    assert main(["quality", str(root / "gan"), "--features", "net"]) == 2
    said = "has 29 train images, and a distance with its interval needs 30: train it on more"
    assert said in capsys.readouterr().err


def test_the_classifiers_file_is_not_written_over(root, told, tmp_path, capsys):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"weights")
    given = ["quality", str(root / "gan"), "--features", "net", "--classifier", str(weights)]
    assert main([*given, "--json", str(weights)]) == 2
    assert f"--json {weights}" in capsys.readouterr().err
    assert weights.read_bytes() == b"weights"
