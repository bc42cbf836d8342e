"""python -m jaxvit predict: probabilities recomputed from images and checkpoints, order, errors."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from jaxvit import cleanup
from jaxvit.data.photos import AHEAD
from jaxvit.interop import predictions
from jaxvit.interop.load import load_pretrained, with_head
from jaxvit.interop.save import save_pretrained
from jaxvit.interop.saved_run import classify, load_run
from jaxvit.interop.tables import write_text
from tests.commands.conftest import command, scored_step, true_probabilities
from tests.test_end_to_end import CLASSES, read_pixels


def expected(run: Path, paths: list[Path], read=read_pixels) -> np.ndarray:
    return true_probabilities(run, scored_step(run), np.stack([read(path) for path in paths]))


def read_cropped(path: Path) -> np.ndarray:
    """Short side 16 bicubic, then the 12 pixels in the centre, by Pillow alone."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    short = min(image.size)
    width, height = (16 if side == short else int(16 * side / short) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - 12) / 2), round((height - 12) / 2)
    return np.asarray(image.crop((left, top, left + 12, top + 12)))


def assert_rows(rows: list[list[str]], paths: list[Path], p: np.ndarray, names, k: int) -> None:
    """Rows are path, class, probability, class, probability, ... of the k most probable."""
    assert [row[0] for row in rows] == list(map(str, paths))
    for row, each in zip(rows, p, strict=True):
        order = np.argsort(-each)[:k]
        assert row[1::2] == [names[index] for index in order]
        assert list(map(float, row[2::2])) == pytest.approx(list(each[order]), abs=1e-5)


def test_files_hold_the_probabilities_of_the_scored_checkpoint_in_the_arguments_order(
    runs, tmp_path, capsys
):
    bees, cats = (runs.photos / "test" / name for name in ("bee", "cat"))
    paths = [cats / "03.png", *sorted(bees.iterdir()), cats / "01.png", cats / "03.png"]
    assert len(paths) % 4 == 2  # the last batch is padded
    options = ["--csv", tmp_path / "p.csv", "--json", tmp_path / "p.json", "--batch-size", "4"]
    assert command(
        "predict", runs.first, cats / "03.png", bees, cats / "01.png", cats / "03.png",
        "--top-k", "2", *options,
    ) == 0  # fmt: skip
    p = expected(runs.first, paths)
    header, *rows = csv.reader((tmp_path / "p.csv").open(newline=""))
    assert header == ["path", "class_1", "probability_1", "class_2", "probability_2"]
    assert_rows(rows, paths, p, CLASSES, k=2)
    found = json.loads((tmp_path / "p.json").read_text())
    assert all(each.keys() == {"path", "classes"} for each in found)
    flat = [
        [each["path"], *(x for c in each["classes"] for x in (c["class"], c["probability"]))]
        for each in found
    ]
    assert_rows(flat, paths, p, CLASSES, k=2)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "10 photos predicted" in printed.err


def test_without_names_classes_are_indices_and_the_weights_preprocessing_is_used(
    runs, weights, tmp_path
):
    paths = sorted((runs.photos / "test" / "ant").iterdir())
    assert command("predict", weights, runs.photos / "test" / "ant", "--csv", tmp_path / "p") == 0
    header, *rows = csv.reader((tmp_path / "p").open(newline=""))
    assert header[-1] == "probability_3"  # there are three classes, fewer than --top-k
    p = expected(runs.first, paths, read_cropped)
    assert np.abs(p - expected(runs.first, paths)).max() > 1e-3
    assert_rows(rows, paths, p, ("0", "1", "2"), k=3)


def test_lines_on_stdout_are_those_of_classify(runs, capsys):
    paths = [runs.photos / "val" / "cat" / f"0{number}.png" for number in (2, 0)]
    assert command("predict", runs.first, *paths, "--top-k", "2") == 0
    printed = capsys.readouterr()
    for line, path in zip(printed.out.splitlines(), paths, strict=True):
        top = list(classify(load_run(runs.first), path).items())[:2]
        assert line == f"{path}: " + ", ".join(f"{name} {p:.1%}" for name, p in top)
    assert printed.err == ""


def test_folders_give_images_at_any_depth_sorted_and_others_are_counted(runs, tmp_path, capsys):
    names = ("b/2.png", "b/10.JPG", "a/x/1.png", "z.png")
    for number, name in enumerate(names):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 40 * number, np.uint8)).save(path)
    for name in ("b/photo.heic", "notes.txt", ".hidden.png"):
        (tmp_path / "in" / name).write_bytes(b"")
    assert command("predict", runs.first, tmp_path / "in") == 0
    printed = capsys.readouterr()
    found = [line.partition(": ")[0] for line in printed.out.splitlines()]
    order = ("a/x/1.png", "b/10.JPG", "b/2.png", "z.png")
    assert found == [str(tmp_path / "in" / name) for name in order]
    assert "passed over 1 .heic" in printed.err


def spoiled(runs, directory: Path) -> tuple[list[Path], list[Path]]:
    """Photos, and files between them that cannot be read."""
    good = [runs.photos / "test" / "ant" / f"0{number}.png" for number in range(5)]
    text, short = directory / "text.jpg", directory / "short.png"
    text.write_text("no image")
    short.write_bytes(good[0].read_bytes()[:200])
    os.mkfifo(directory / "pipe.png")
    return good, [text, short, directory / "missing.png", directory / "pipe.png"]


def test_unreadable_photos_are_named_and_counted_and_change_no_other(runs, tmp_path, capsys):
    good, bad = spoiled(runs, tmp_path)
    mixed = [bad[0], good[0], bad[1], good[1], good[2], bad[2], good[3], good[4], bad[3]]
    options = ["--csv", tmp_path / "p.csv", "--batch-size", "2"]
    assert command("predict", runs.first, *mixed, *options) == 0
    _, *rows = csv.reader((tmp_path / "p.csv").open(newline=""))
    assert_rows(rows, good, expected(runs.first, good), CLASSES, k=3)
    error = capsys.readouterr().err
    said = [line for line in error.splitlines() if line.startswith("left out: ")]
    for line, path in zip(said, bad, strict=True):
        assert line.startswith(f"left out: {path} cannot be read")
    assert "5 photos predicted, 4 that cannot be read left out" in error


def test_unreadable_photos_stop_where_that_is_asked_for_and_nothing_is_written(
    runs, tmp_path, capsys
):
    good, bad = spoiled(runs, tmp_path)
    options = ["--csv", tmp_path / "p.csv", "--on-error", "stop"]
    assert command("predict", runs.first, good[0], bad[0], *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"error: {bad[0]} cannot be read" in line
    assert "--on-error skip" in line
    assert not (tmp_path / "p.csv").exists()
    assert command("predict", runs.first, *bad, "--csv", tmp_path / "p.csv") == 2
    assert "none of 4 photo(s) can be read" in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.glob("*p.csv*"))


def test_photos_are_turned_as_the_run_says_unless_asked_otherwise(runs, tmp_path, capsys):
    turned = runs.photos / "test" / "ant" / "01.png"
    assert Image.open(turned).getexif()[0x0112] == 6

    def as_stored(path: Path) -> np.ndarray:
        return np.asarray(Image.open(path).resize((12, 12), Image.Resampling.BILINEAR))

    untrained = tmp_path / "run"
    untrained.mkdir()
    for name in ("split.json", "summary.json", "checkpoints"):
        (untrained / name).symlink_to(runs.first / name)
    config = json.loads((runs.first / "config.json").read_text())
    config["data"]["exif"] = False  # as of a run on images as they are stored
    (untrained / "config.json").write_text(json.dumps(config))
    for run, options, read in (
        (runs.first, [], read_pixels),
        (runs.first, ["--no-upright"], as_stored),
        (untrained, [], as_stored),
        (untrained, ["--upright"], read_pixels),
    ):
        out = tmp_path / "p.csv"
        assert command("predict", run, turned, "--csv", out, *options) == 0
        _, *rows = csv.reader(out.open(newline=""))
        assert_rows(rows, [turned], expected(runs.first, [turned], read), CLASSES, k=3)
    assert command("predict", runs.first, turned, "--upright", "--no-upright") == 2
    assert "contradict each other" in capsys.readouterr().err


def test_one_program_serves_every_batch_of_the_size_that_is_asked_for(runs, tmp_path, monkeypatch):
    predictions._compiled.cache_clear()
    in_batches, sizes = predictions.in_batches, []

    def recorded(images, batch_size):
        for batch in in_batches(images, batch_size):
            sizes.append(len(batch.pixels))
            yield batch

    monkeypatch.setattr(predictions, "in_batches", recorded)
    args = [runs.photos / "test", "--batch-size", "4", "--csv", tmp_path / "p.csv"]
    assert command("predict", runs.first, *args) == 0
    found = load_pretrained(runs.first)
    values = map(tuple, found.preprocessing[1:])
    program = predictions._compiled(found.model, *values, found.model_config.convolves)
    assert program._cache_size() == 1
    assert sizes == [4] * 6  # of 21 photos


def test_decoding_is_ahead_but_not_without_bound(runs):
    classifier = predictions.make_classifier(load_pretrained(runs.first))
    taken = 0

    def images():
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield np.zeros((12, 12, 3), np.uint8)

    found = predictions.predict_images(classifier, images(), 4)
    next(found)
    assert taken == 4 * (predictions.IN_FLIGHT + 1)
    assert AHEAD < 100


def test_classify_takes_pretrained_weights_and_lists_of_any_length(runs, weights):
    paths = sorted((runs.photos / "test").rglob("*.png"))[:5]
    p = expected(runs.first, paths, read_cropped)
    for found, row in zip(classify(load_pretrained(weights), paths), p, strict=True):
        assert [found[name] for name in ("0", "1", "2")] == pytest.approx(list(row), abs=1e-5)
        assert list(found.values()) == sorted(found.values(), reverse=True)
    assert classify(load_pretrained(weights), []) == []
    run, same = load_run(runs.first), load_pretrained(runs.first)
    assert classify(run, paths[0]) == classify(same, paths[0])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["{run}"], "no photo is given"),
        (["{run}", "{empty}"], "holds no image"),
        (["{run}", "{photo}", "--top-k", "0"], "--top-k 0 is too small"),
        (["{run}", "{photo}", "--csv", "{empty}"], "names no file: give the name of a file"),
        (["{run}", "{photo}", "--csv", "a", "--json", "a"], "name the same file a"),
        (["{run}", "{photo}", "--json", "{photo}/a"], "cannot be written: choose another place"),
        (["{run}", "{photo}", "--topk", "2"], "perhaps you meant --top-k"),
        (["{empty}", "{photo}"], "holds no weights files and is no run"),
        (["{features}", "{photo}"], "these weights have no head"),
    ],
)
def test_wrong_arguments_are_one_line(runs, tmp_path, capsys, args, message):
    (tmp_path / "empty").mkdir()
    features = tmp_path / "features.safetensors"
    save_pretrained(with_head(load_pretrained(runs.first), 0), features, "timm")
    names = {
        "run": runs.first, "photo": runs.photos / "test" / "ant" / "00.png",
        "empty": tmp_path / "empty", "features": features,
    }  # fmt: skip
    assert command("predict", *(arg.format(**names) for arg in args)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_help_is_one_screen(capsys):
    with pytest.raises(SystemExit) as stop:
        command("predict", "--help")
    assert stop.value.code == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) <= 40
    assert max(map(len, shown)) <= 100


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "p.json"
    path.write_text("old")
    write = Path.write_text

    def stop_half_way(self, text, **options):
        write(self, text[:3], **options)
        assert path.read_text() == "old"
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", stop_half_way)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "something new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["p.json"]

    def end_the_process(self, text, **options):
        write(self, text[:3], **options)
        cleanup.remove_all()  # as a signal does before it ends the process
        assert os.listdir(tmp_path) == ["p.json"]
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", end_the_process)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "something new")
    assert os.listdir(tmp_path) == ["p.json"]


def test_a_signal_while_predicting_is_one_line_and_writes_nothing(runs, tmp_path):
    photos = [str(runs.photos / "test" / "ant" / "00.png")] * 3000
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxvit", "predict", str(runs.first), *photos, "--csv",
         str(tmp_path / "p.csv"), "--batch-size", "1"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr.readline() == "images: 3000\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert process.stderr.read().splitlines() == [
        "stopped: no file was written, and the same command starts again"
    ]
    assert os.listdir(tmp_path) == []


def test_the_weights_are_the_best_by_the_runs_own_metric(runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs.first, run)
    files = sorted(run.glob("checkpoints/[0-9]*/metrics/metrics"), key=lambda p: int(p.parts[-3]))
    assert len(files) > 1
    for rank, file in enumerate(files):
        file.write_text(json.dumps({"val/accuracy": rank / 10, "val/loss": rank + 1.0}))
    config = json.loads((run / "config.json").read_text())
    for metric, file in (("accuracy", files[-1]), ("loss", files[0])):
        (run / "config.json").write_text(json.dumps(config | {"monitor": metric}))
        assert load_run(run).step == int(file.parts[-3])
