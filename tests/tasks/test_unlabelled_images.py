"""Instance discrimination of a user's own images, with labels or without, and options refused."""

import json

import numpy as np
import pytest
from PIL import Image

import train_jax
from jaxvit.__main__ import main
from jaxvit.command_line import parse
from jaxvit.data.folder import load_folder
from jaxvit.errors import UserError
from jaxvit.runs.recorder import Recorder
from tests.tasks.test_instance_runs import ARGUMENTS


@pytest.fixture
def photos(tmp_path):
    """Images at several depths, of no class."""
    rng = np.random.default_rng(0)
    for number in range(30):
        place = tmp_path / "photos" / ("." if number % 2 else f"day {number % 3}")
        place.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (9, 11, 3), np.uint8)
        Image.fromarray(pixels).save(place / f"{number:02d}.png")
    return tmp_path / "photos"


def unlabelled(photos, out, *more: str) -> list[str]:
    return [
        "folder", "--method", "instance_discrimination", "--data.dir", str(photos),
        "--data.no-labels", "--model.img-size", "16", "--epochs", "2", "--batch-size", "8",
        "--augment.mixup-alpha", "0", "--model.num-layers", "1", "--out", str(out),
        "--data.cache-dir", str(photos.parent / "cache"), *more,
    ]  # fmt: skip


def test_images_without_labels_are_told_apart(photos, tmp_path, capsys):
    out = tmp_path / "run"
    assert train_jax.main(unlabelled(photos, out)) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert sum(summary["images"].values()) == 30
    assert "test/retrieval_accuracy" in summary
    assert not any("knn" in name or "linear" in name for name in summary)
    assert "test retrieval_accuracy" in capsys.readouterr().out
    assert main(["report", str(out)]) == 0
    assert "without labels" in (out / "report.html").read_text()


@pytest.mark.parametrize("change", ["gone", "added"])
def test_an_image_that_is_gone_or_added_is_refused_on_resuming(photos, tmp_path, capsys, change,
                                                               monkeypatch):  # fmt: skip
    out = tmp_path / "run"

    class Killed(Exception):
        pass

    def dies(self, step, metrics):
        raise Killed

    monkeypatch.setattr(Recorder, "_on_log", dies)
    with pytest.raises(Killed):
        train_jax.main(unlabelled(photos, out))
    monkeypatch.undo()
    if change == "gone":
        next(iter(photos.rglob("*.png"))).unlink()
    else:
        Image.new("RGB", (8, 8)).save(photos / "new.png")
    assert train_jax.main(unlabelled(photos, out)) != 0
    said = capsys.readouterr().err
    assert "the images are not those that the run in" in said
    assert "is gone from" in said or "is new in" in said  # the split is drawn anew


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--instance.views", "1"], "compares two views, and --instance.views is 1"),
        (["--instance.contrastive-weight", "0", "--instance.instance-weight", "0"], "no loss"),
        (["--augment.cutmix-alpha", "1"], "Mixup and CutMix mix several"),
        (["--model.name", "resnet18"], "trains a Vision Transformer"),
        (["--optim.freeze", "backbone"], "is of classification"),
        (["--class-balanced"], "is of classification"),
        (["--instance.small-size", "5"], "not divisible by --model.patch-size 2"),
        (["--augment.blur-kernel", "4"], "give an odd number"),
        (["--augment.blur-p", "0.5", "--augment.blur-kernel", "17"], "less than twice"),
        (["--data.no-labels"], "is for --data.name folder"),
        (["--instance.temperature", "0"], "instance.temperature"),
        (["--instance.instance-weight", "0"], "is of no use"),
        (
            ["--instance.small-size", "4", "--augment.blur-p", "1"],
            "less than twice --instance.small-size 4",
        ),
        (
            [
                "--augment.crop-scale",
                "0.5",
                "1",
                "--data.stored-scale",
                "2",
                "--data.crop-share",
                "0.9",
            ],
            "features cannot be compared",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(more, said):
    with pytest.raises(UserError, match=said):
        parse([*ARGUMENTS, *more])


def test_options_of_views_need_the_method():
    with pytest.raises(UserError, match="--instance options are of --method"):
        parse(["digits", "--instance.views", "3"])


def test_folders_of_splits_are_kept_without_labels(photos, tmp_path):
    for split in ("train", "test"):
        place = tmp_path / "split" / split
        place.mkdir(parents=True)
        for path in sorted(photos.glob("*.png"))[: 9 if split == "train" else 6]:
            path.rename(place / path.name)
    found = load_folder(tmp_path / "split", labelled=False).splits
    assert set(found) == {"train", "test"}
    assert not set(found["train"].names) & set(found["test"].names)
    assert len(found["train"].names) + len(found["test"].names) == 15


def test_a_directory_without_images_says_so(tmp_path):
    with pytest.raises(UserError, match="has no image .* give the directory that holds"):
        load_folder(tmp_path, labelled=False)
    with pytest.raises(UserError, match="give --data.no-labels"):
        load_folder(tmp_path)


def test_labels_are_needed_to_classify(photos):
    with pytest.raises(UserError, match="leaves no classes to learn"):
        parse(["folder", "--data.dir", str(photos), "--data.no-labels"])
