"""python -m jaxvit evaluate: scores recomputed from images and checkpoints, and wrong folders."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import precision_recall_fscore_support

from jaxvit.objectives.confusions import frequent_confusions
from tests.commands.conftest import command, scored_step, true_probabilities
from tests.test_end_to_end import CLASSES, MEAN, STD, read_pixels


def expected(run: Path, paths: list[Path], labels: list[int]) -> dict:
    """All scores, by NumPy, scikit-learn and the equations."""
    pixels = np.stack([read_pixels(path) for path in paths])
    p = true_probabilities(run, scored_step(run), pixels)
    labels, n, predicted, confidence = np.array(labels), len(paths), p.argmax(-1), p.max(-1)
    right, z = predicted == labels, 1.959964
    share = right.mean()
    spread = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    bins = np.minimum((confidence * 15).astype(int), 14)
    gaps = [abs(right[bins == b].sum() - confidence[bins == b].sum()) for b in range(15)]
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, average="macro", zero_division=0
    )
    matrix = np.zeros((3, 3), int)
    for label, guess in zip(labels, predicted, strict=True):
        matrix[label, guess] += 1
    wrong = [row for row in np.argsort(-confidence) if not right[row]]
    return {
        "accuracy": share,
        "n": n,
        "interval": [(share + z**2 / (2 * n) + sign * spread) / (1 + z**2 / n) for sign in (-1, 1)],
        "precision_macro": precision,
        "recall_macro": recall,
        "f1_macro": f1,
        "loss": -np.log(p[np.arange(n), labels]).mean(),
        "ece": sum(gaps) / n,
        "mean_confidence": confidence.mean(),
        "per_class": {
            CLASSES[k]: {"n": int((labels == k).sum()), "accuracy": right[labels == k].mean()}
            for k in sorted(set(labels))
        },
        "confusion": {"class_names": list(CLASSES), "matrix": matrix.tolist()},
        "worst": [
            {
                "path": f"{CLASSES[labels[row]]}/{paths[row].name}",
                "class": CLASSES[labels[row]],
                "predicted": CLASSES[predicted[row]],
                "confidence": confidence[row],
                "class_probability": p[row, labels[row]],
            }
            for row in wrong[:10]
        ],
    }


def assert_values(found: dict, values: dict) -> None:
    for name, value in values.items():
        if name == "worst":
            for each, wanted in zip(found[name], value, strict=True):
                assert each == pytest.approx(wanted, abs=1e-5)
        elif name == "per_class":
            assert list(found[name]) == list(value)
            for each, wanted in value.items():
                assert found[name][each] == pytest.approx(wanted)
        elif name == "confusion":
            assert found[name] == value
        else:
            assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name


def files(folder: Path, classes=CLASSES) -> tuple[list[Path], list[int]]:
    paths = [path for name in classes for path in sorted((folder / name).iterdir())]
    return paths, [CLASSES.index(path.parent.name) for path in paths]


def test_a_folder_without_some_classes_is_scored_as_recomputed(runs, tmp_path, capsys):
    folder, out = tmp_path / "photos", tmp_path / "e.json"
    for name in ("cat", "bee"):
        shutil.copytree(runs.photos / "train" / name, folder / name)
    for path in (runs.photos / "train" / "ant").iterdir():  # more errors than are listed
        shutil.copy(path, folder / "cat" / f"x{path.name}")
    (folder / "ant").mkdir()  # of a class without images
    (folder / "notes.txt").touch()
    args = [runs.first, folder, "--json", out, "--batch-size", "4"]
    assert command("evaluate", *args) == 0
    paths, labels = files(folder, ("bee", "cat"))
    assert len(paths) % 4
    values, found = expected(runs.first, paths, labels), json.loads(out.read_text())
    assert values["confusion"]["matrix"] != np.transpose(values["confusion"]["matrix"]).tolist()
    assert len(values["worst"]) == 10
    assert_values(found, values)
    assert (found["path"], found["weights"]) == (str(folder), str(runs.first))
    assert found["preprocessing"] == {
        "size": 12, "resize": "squash", "crop_share": 1.0, "interpolation": "bilinear",
        "mean": list(MEAN), "std": list(STD),
    }  # fmt: skip
    printed = capsys.readouterr().out.splitlines()
    low, high = values["interval"]
    assert printed[0] == (
        f"accuracy {values['accuracy']:.2%} (95 % interval {low:.2%} to {high:.2%}), "
        f"{round(values['accuracy'] * 39)} of 39 right"
    )
    assert printed[1] == (
        "macro precision {precision_macro:.3f}, recall {recall_macro:.3f}, F1 {f1_macro:.3f}; "
        "loss {loss:.3f}, ece {ece:.3f}, mean confidence {mean_confidence:.3f}"
    ).format(**values)
    assert "classes (1 without images)  images  accuracy" in printed
    accuracy = values["per_class"]["cat"]["accuracy"]
    assert any(line.split() == ["cat", "26", f"{accuracy:.1%}"] for line in printed)
    matrix = np.array(values["confusion"]["matrix"])
    np.fill_diagonal(matrix, 0)
    label, guess = np.unravel_index(matrix.argmax(), matrix.shape)
    first = printed[printed.index("most frequent confusions") + 1]
    assert first == f"  {matrix.max():4} x {CLASSES[label]} taken for {CLASSES[guess]}"
    worst = values["worst"][0]
    assert printed[printed.index("errors of the highest confidence") + 1] == (
        f"  {worst['path']}: {worst['predicted']} {worst['confidence']:.1%} "
        f"(is {worst['class']}, {worst['class_probability']:.1%})"
    )


def test_the_most_frequent_confusions_come_first_and_equal_ones_in_the_order_of_classes():
    confusion = np.array([[9, 1, 2], [5, 9, 2], [0, 1, 9]])
    found = frequent_confusions(confusion, 4)
    assert found == [(1, 0, 5), (0, 2, 2), (1, 2, 2), (0, 1, 1)]
    assert confusion[0, 0] == 9


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_of_the_run_is_scored_as_recomputed_and_as_training_did(runs, tmp_path, split):
    out = tmp_path / "e.json"
    assert command("evaluate", runs.first, split, "--json", out) == 0
    found = json.loads(out.read_text())
    assert_values(found, expected(runs.first, *files(runs.photos / split)))
    summary = json.loads((runs.first / "summary.json").read_text())
    scores = {"test": summary, "val": summary["best"], "train": {}}[split]
    for name in ("accuracy", "precision_macro", "recall_macro", "f1_macro", "loss", "ece"):
        assert found[name] == pytest.approx(scores.get(f"{split}/{name}", found[name]), rel=1e-6)


def test_folders_belong_to_classes_by_a_list_of_names_and_not_by_their_order(
    runs, weights, tmp_path, capsys
):
    names, out = tmp_path / "names.txt", tmp_path / "e.json"
    # ant, bee and cat of the run, under names whose order is another one.
    names.write_text("n00000007 zebra, Equus\nmule\nn00000003 auk\n\n")
    folder = tmp_path / "photos"
    for label, name in enumerate(("n00000007", "mule", "n00000003 auk")):
        shutil.copytree(runs.photos / "test" / CLASSES[label], folder / name)
    assert command("evaluate", weights, folder) == 2
    error = capsys.readouterr().err
    assert "of which no names are known (they are 0 to 2): give them with --classes" in error
    assert command("evaluate", weights, folder, "--classes", names, "--json", out) == 0
    found = json.loads(out.read_text())
    for label, name in enumerate(("n00000007 zebra, Equus", "mule", "n00000003 auk")):
        single = tmp_path / str(label)
        (single / CLASSES[label]).parent.mkdir()
        shutil.copytree(runs.photos / "test" / CLASSES[label], single / name)
        alone = tmp_path / "alone.json"
        assert command("evaluate", weights, single, "--classes", names, "--json", alone) == 0
        assert json.loads(alone.read_text())["per_class"] == {name: found["per_class"][name]}
    # The same photos under the run's own names, with the weights' preprocessing.
    (tmp_path / "own.txt").write_text("\n".join(CLASSES))
    args = [runs.photos / "test", "--classes", tmp_path / "own.txt", "--json", out]
    assert command("evaluate", weights, *args) == 0
    own = json.loads(out.read_text())
    assert own["confusion"]["matrix"] == found["confusion"]["matrix"]
    assert own["preprocessing"]["resize"] == "short_side"
    names.write_text("mule\nzebra\n")
    assert command("evaluate", weights, folder, "--classes", names) == 2
    assert "has 2 lines, but the model has 3 classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("Bee", "the folder 'Bee' in {there} is none of the model's classes: perhaps it is 'bee'"),
        ("test", "if it is a split, give {there}/test"),
        ("xyzzy", "none of the model's classes ('ant', 'bee', 'cat'): rename or remove it"),
    ],
)
def test_a_folder_that_is_no_class_is_named_with_near_ones(runs, tmp_path, capsys, folder, message):
    for name in ("ant", folder):
        shutil.copytree(runs.photos / "test" / "ant", tmp_path / name)
    assert command("evaluate", runs.first, tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message.format(there=tmp_path) in line


def test_unreadable_photos_are_named_counted_and_not_scored(runs, tmp_path, capsys):
    folder, out = tmp_path / "photos", tmp_path / "e.json"
    shutil.copytree(runs.photos / "test", folder)
    paths, labels = files(folder)
    for name in ("ant/000.png", "bee/03a.png"):
        (folder / name).write_text("no image")
    (folder / "cat" / "x.heic").touch()
    assert command("evaluate", runs.first, folder, "--json", out, "--batch-size", "4") == 0
    error = capsys.readouterr().err
    for name in ("ant/000.png", "bee/03a.png"):
        assert f"left out: {folder / name} cannot be read" in error
    assert "2 photo(s) that cannot be read are not scored" in error
    assert "passed over 1 .heic" in error
    found = json.loads(out.read_text())
    assert_values(found, expected(runs.first, paths, labels))
    assert len(found["unreadable"]) == 2
    assert command("evaluate", runs.first, folder, "--on-error", "stop") == 2
    assert "ant/000.png cannot be read" in capsys.readouterr().err.splitlines()[-1]
    for path in folder.rglob("*.png"):
        path.write_text("no image")
    assert command("evaluate", runs.first, folder) == 2
    assert "none of 23 image(s) can be read" in capsys.readouterr().err.splitlines()[-1]


def test_the_splits_of_moved_images_are_found_and_those_of_changed_ones_refused(
    runs, tmp_path, capsys
):
    moved = tmp_path / "images"
    shutil.copytree(runs.photos, moved)
    run = tmp_path / "run"
    shutil.copytree(runs.first, run)
    config = json.loads((run / "config.json").read_text())
    config["data"]["dir"] = str(tmp_path / "gone")
    (run / "config.json").write_text(json.dumps(config))
    assert command("evaluate", run, "test") == 2
    assert "say where its images are now with --data-dir DIR" in capsys.readouterr().err
    assert command("evaluate", run, "test", "--data-dir", moved) == 0
    shutil.move(moved / "train" / "ant" / "00.png", moved / "test" / "ant" / "zz.png")
    capsys.readouterr()
    assert command("evaluate", run, "test", "--data-dir", moved) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "the test images are not those of the run" in error


def test_the_train_split_of_images_stored_larger_is_decoded_as_for_scores(runs, tmp_path):
    run, out = tmp_path / "run", tmp_path / "e.json"
    shutil.copytree(runs.first, run)
    config = json.loads((run / "config.json").read_text())
    config["data"]["stored_scale"] = 20 / 12
    (run / "config.json").write_text(json.dumps(config))
    assert command("evaluate", run, "train", "--json", out) == 0
    assert_values(json.loads(out.read_text()), expected(runs.first, *files(runs.photos / "train")))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["{weights}", "test"], "is no run, so it has no test split: give a folder"),
        (["{run}", "{empty}"], "has no folder: put the images of each class in one"),
        (["{run}", "{hollow}"], "hold no image"),
        (["{run}", "tset"], "tset is not a directory"),
        (["{run}", "{empty}", "--data-dir", "x"], "--data-dir goes with train, val or test"),
        (["{run}", "{empty}", "--classes", "nowhere.txt"], "--classes nowhere.txt cannot be read"),
    ],
)
def test_wrong_arguments_are_one_line(runs, weights, tmp_path, capsys, args, message):
    (tmp_path / "hollow" / "ant").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    names = {
        "weights": weights, "run": runs.first, "empty": tmp_path / "empty",
        "hollow": tmp_path / "hollow",
    }  # fmt: skip
    assert command("evaluate", *(arg.format(**names) for arg in args)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_perfect_score_shows_no_errors(runs, tmp_path, capsys):
    """Photos that are put where the model says that they belong."""
    from jaxvit.interop.saved_run import classify, load_run

    run = load_run(runs.first)
    for number in range(6):
        image = Image.fromarray(np.full((12, 12, 3), 40 * number, np.uint8))
        folder = tmp_path / next(iter(classify(run, image)))
        folder.mkdir(exist_ok=True)
        image.save(folder / f"{number}.png")
    assert command("evaluate", runs.first, tmp_path) == 0
    shown = capsys.readouterr().out
    assert "accuracy 100.00%" in shown
    assert "confusions" not in shown


@pytest.mark.parametrize(("option", "turned"), [("--no-upright", False), ("--upright", True)])
def test_photos_are_turned_as_is_asked(runs, tmp_path, option, turned):
    photo = runs.photos / "test" / "ant" / "01.png"
    stored = Image.open(photo)
    assert stored.getexif()[0x0112] == 6
    (tmp_path / "photos" / "ant").mkdir(parents=True)
    shutil.copy(photo, tmp_path / "photos" / "ant")
    pixels = np.asarray(stored.convert("RGB").resize((12, 12), Image.Resampling.BILINEAR))
    if turned:
        pixels = read_pixels(photo)
    p = true_probabilities(runs.first, scored_step(runs.first), pixels[None])[0]
    file = tmp_path / "e.json"
    args = ["evaluate", runs.first, tmp_path / "photos", option, "--json", file]
    assert command(*args) == 0
    assert json.loads(file.read_text())["loss"] == pytest.approx(-np.log(p[0]), rel=1e-4)


def test_of_many_classes_the_least_accurate_are_shown(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("jaxvit.interop.evaluation_report.CLASSES_SHOWN", 1)
    for name in ("bee", "cat"):
        shutil.copytree(runs.photos / "train" / name, tmp_path / "photos" / name)
    for path in (runs.photos / "train" / "ant").iterdir():
        shutil.copy(path, tmp_path / "photos" / "cat" / f"x{path.name}")
    file = tmp_path / "e.json"
    assert command("evaluate", runs.first, tmp_path / "photos", "--json", file) == 0
    per_class = json.loads(file.read_text())["per_class"]
    found = {name: each["accuracy"] for name, each in per_class.items()}
    assert min(found.values()) < max(found.values())
    lines = capsys.readouterr().out.splitlines()
    (at,) = [number for number, line in enumerate(lines) if "the 1 least accurate" in line]
    assert lines[at + 1].split()[0] == min(found, key=found.get)
