"""The pages of a run and of an evaluation: recomputed from the images and the checkpoint."""

import base64
import html
import io
import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import train_jax
from jaxvit.command_line import parse
from jaxvit.commands import evaluate, pages
from jaxvit.commands.arguments import words_of
from jaxvit.commands.pages import training_command, try_run_page, write_run_page
from jaxvit.explain.attention_rollout import attention_rollout
from jaxvit.interop.saved_run import load_run
from jaxvit.models.variables import variables_of
from jaxvit.pages import page as page_room
from jaxvit.runtime import interrupt
from tests.commands.conftest import command, scored_step, true_probabilities
from tests.test_end_to_end import CLASSES, MEAN, STD, read_pixels


def embedded(page: Path) -> dict:
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


@pytest.fixture(scope="module")
def page(runs) -> Path:
    return write_run_page(runs.first)


@pytest.fixture(scope="module")
def truth(runs) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """Test photos, their labels, and float64 probabilities of the scored checkpoint."""
    files = sorted(path for name in CLASSES for path in (runs.photos / "test" / name).iterdir())
    labels = np.array([CLASSES.index(path.parent.name) for path in files])
    pixels = np.stack(list(map(read_pixels, files)))
    return files, labels, true_probabilities(runs.first, scored_step(runs.first), pixels)


def assert_images(found: list, truth) -> None:
    files, labels, p = truth
    by_name = {each[1]: each for each in found}
    assert len(by_name) == len(files)
    for path, label, row in zip(files, labels, p, strict=True):
        uri, _, is_, said, confidence = by_name[f"{path.parent.name}/{path.name}"]
        assert (is_, said) == (label, row.argmax()), path
        assert confidence == pytest.approx(row.max(), abs=1e-4)
        thumbnail = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        small = np.asarray(thumbnail.resize((12, 12), Image.Resampling.BOX), float)
        assert np.abs(small - read_pixels(path)).mean() < 30


def test_the_page_of_a_run_shows_every_test_image_with_what_its_checkpoint_says(page, truth):
    assert page.name == "report.html"
    assert embedded(page)["classes"] == list(CLASSES)
    assert_images(embedded(page)["images"], truth)
    _, labels, p = truth
    right = int((p.argmax(-1) == labels).sum())
    text = page.read_text()
    assert f"{right} of {len(labels)} right" in text
    assert f"{100 * right / len(labels):.1f} %" in text


def test_it_has_the_runs_curves_options_machine_and_command(runs, page):
    text = page.read_text()
    lines = [json.loads(each) for each in (runs.first / "metrics.jsonl").open()]
    validated = [line for line in lines if "val/loss" in line]
    assert text.count("<title>validation: ") > 2 * len(validated) - 1
    assert f"{validated[0]['val/loss']:.4g} at step {validated[0]['step']}" in text
    for part in ("optim.weight_decay", "params_sha256", "jaxlib", "augmented training images"):
        assert part in text
    summary = json.loads((runs.first / "summary.json").read_text())
    assert summary["params_sha256"] in text
    assert f"{summary['images']['train']} images" in text


def test_the_command_of_a_page_makes_the_same_configuration(runs):
    config = load_run(runs.first).config
    words = training_command("folder", config).split()
    assert words[:3] == ["python", "train_jax.py", "folder"]
    name, again = parse(words[2:])
    assert name == "folder"
    assert again == config


def test_the_overlay_of_an_error_is_the_rollout_of_its_image(runs, page, truth, monkeypatch):
    seen = {}

    def render(about, scored, names, overlays):
        seen.update(scored=scored, overlays=overlays, about=about)
        return ""

    monkeypatch.setattr(pages, "render_page", render)
    monkeypatch.setattr(pages, "write_text", lambda path, text: None)
    write_run_page(runs.first)
    files, labels, p = truth
    wrong = {i for i in range(len(files)) if p[i].argmax() != labels[i]}
    assert len(seen["overlays"]) == min(len(wrong), page_room.ERRORS)
    assert_scored(seen["scored"], labels, p)
    run = load_run(runs.first)
    names = [f"{path.parent.name}/{path.name}" for path in files]
    for row, found in list(seen["overlays"].items())[:3]:
        photo = files[names.index(seen["scored"].names[row])]
        image = ((read_pixels(photo) / 255 - MEAN) / STD).astype(np.float32)[None]
        expected = attention_rollout(run.model, variables_of(run.params), image)[0]
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert seen["about"].overlay == "attention rollout"


def assert_scored(scored, labels: np.ndarray, p: np.ndarray) -> None:
    """What a page is drawn from, recomputed from float64 probabilities (N, 3)."""
    predicted, confidence = p.argmax(-1), p.max(-1)
    matrix = np.zeros((3, 3), int)
    np.add.at(matrix, (labels, predicted), 1)
    assert (matrix != matrix.T).any()
    np.testing.assert_array_equal(scored.confusion, matrix)
    np.testing.assert_array_equal(scored.predicted, predicted)
    np.testing.assert_allclose(scored.confidence, confidence, atol=1e-4)
    np.testing.assert_allclose(scored.label_probability, p[np.arange(len(p)), labels], atol=1e-4)
    place = np.minimum((15 * confidence).astype(int), 14)
    for found, weight in zip(scored.bins, (None, confidence, predicted == labels), strict=True):
        np.testing.assert_allclose(found, np.bincount(place, weight, 15), atol=1e-3)


def test_the_page_of_an_evaluation_is_drawn_from_its_scores(runs, tmp_path, monkeypatch):
    seen = {}

    def render(about, scored, *_):
        seen.update(about=about, scored=scored)
        return ""

    monkeypatch.setattr(evaluate, "write_evaluation_page", pages.write_evaluation_page)
    monkeypatch.setattr(pages, "render_page", render)
    for name in ("ant", "bee"):
        shutil.copytree(runs.photos / "train" / name, tmp_path / "photos" / name)
    shutil.copytree(runs.photos / "train" / "ant", tmp_path / "photos" / "cat")  # errors
    (tmp_path / "photos" / "ant" / "zzz.png").write_text("no image")
    args = [runs.first, tmp_path / "photos", "--report", tmp_path / "x.html"]
    assert command("evaluate", *args, "--on-error", "skip") == 0
    files = [
        path
        for name in CLASSES
        for path in sorted((tmp_path / "photos" / name).iterdir())
        if path.name != "zzz.png"
    ]
    labels = np.array([CLASSES.index(path.parent.name) for path in files])
    pixels = np.stack(list(map(read_pixels, files)))
    p = true_probabilities(runs.first, scored_step(runs.first), pixels)
    assert_scored(seen["scored"], labels, p)
    data = dict(seen["about"].facts["Data"])
    assert data == {"images": f"{len(files):,}", "left out": 1}


def test_an_evaluation_ends_in_a_page(runs, truth, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "write_evaluation_page", pages.write_evaluation_page)
    monkeypatch.chdir(tmp_path)
    assert command("evaluate", runs.first, runs.photos / "test") == 0
    assert "the page is" in capsys.readouterr().err
    assert_images(embedded(tmp_path / "report.html")["images"], truth)
    assert f"evaluate {runs.first} {runs.photos / 'test'}" in (tmp_path / "report.html").read_text()
    assert command("evaluate", runs.first, "test", "--report", tmp_path / "x.html") == 0
    assert_images(embedded(tmp_path / "x.html")["images"], truth)


def test_the_command_of_an_evaluations_page_has_its_options(runs, weights, tmp_path, monkeypatch):
    """Without --classes it would be refused, and --no-upright would score other pixels."""
    monkeypatch.setattr(evaluate, "write_evaluation_page", pages.write_evaluation_page)
    names = tmp_path / "own names.txt"
    names.write_text("\n".join(CLASSES))
    args = [
        str(weights), str(runs.photos / "test"), "--classes", str(names), "--batch-size", "4",
        "--on-error", "stop", "--no-upright",
    ]  # fmt: skip
    out = ["--report", tmp_path / "x.html", "--json", tmp_path / "x.json"]
    assert command("evaluate", *args, *out) == 0
    said = shlex.join(["python", "-m", "jaxvit", "evaluate", *args])
    assert said in html.unescape((tmp_path / "x.html").read_text())


def test_the_page_of_an_evaluation_is_not_written_into_a_run(runs, monkeypatch, capsys):
    monkeypatch.chdir(runs.first)
    assert command("evaluate", ".", "test") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the page report.html would be written here, into the run" in line
    assert "give --report FILE in another place" in line


def test_a_run_whose_test_images_have_changed_has_no_new_page(runs, tmp_path, capsys):
    """Its predictions are of other images, whose number is the same."""
    moved, run = tmp_path / "images", tmp_path / "run"
    shutil.copytree(runs.photos, moved)
    shutil.copytree(runs.first, run)
    config = json.loads((run / "config.json").read_text())
    config["data"]["dir"] = str(moved)
    (run / "config.json").write_text(json.dumps(config))
    (run / "report.html").unlink(missing_ok=True)
    first, second = sorted((moved / "test" / CLASSES[0]).iterdir())[:2]
    first.write_bytes(second.read_bytes())
    assert command("report", run) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the test images are not those that" in line
    assert f"changed is {CLASSES[0]}/{first.name}" in line
    assert not (run / "report.html").exists()


def test_a_photo_that_cannot_be_read_does_not_shift_the_others(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "write_evaluation_page", pages.write_evaluation_page)
    folder = tmp_path / "photos" / CLASSES[0]
    folder.mkdir(parents=True)
    (folder / "00.png").write_text("no image")
    photos = sorted((runs.photos / "test" / CLASSES[0]).iterdir())[:3]
    for number, photo in enumerate(photos):
        (folder / f"1{number}.png").write_bytes(photo.read_bytes())
    args = ["--report", tmp_path / "x.html", "--on-error", "skip"]
    assert command("evaluate", runs.first, tmp_path / "photos", *args) == 0
    found = sorted(embedded(tmp_path / "x.html")["images"], key=lambda each: each[1])
    for photo, (uri, *_) in zip(photos, found, strict=True):
        thumbnail = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        small = np.asarray(thumbnail.resize((12, 12), Image.Resampling.BOX), float)
        assert np.abs(small - read_pixels(photo)).mean() < 30


def test_training_asks_for_a_page_when_the_run_is_finished(runs, tmp_path, monkeypatch, tiny):
    asked = []

    def page(path, say):
        asked.append((path, (path / "summary.json").exists()))

    monkeypatch.setattr(train_jax, "try_run_page", page)
    assert train_jax.main([*tiny, "--epochs", "1", "--out", str(tmp_path / "run")]) == 0
    assert asked == [(tmp_path / "run", True)]


def test_a_page_that_cannot_be_written_costs_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(interrupt, "_last_line", interrupt.STOPPED)
    said = []
    try_run_page(tmp_path / "nothing", said.append)
    assert len(said) == 1
    assert said[0].startswith("report.html could not be written (")
    assert f"python -m jaxvit report {tmp_path / 'nothing'} tries again" in said[0]
    assert "\n" not in said[0]


def test_a_signal_during_the_page_says_that_the_run_is_finished(runs, monkeypatch):
    monkeypatch.setattr(interrupt, "_last_line", interrupt.STOPPED)
    seen = []
    monkeypatch.setattr(pages, "write_run_page", lambda path: seen.append(interrupt._last_line))
    try_run_page(runs.first, print)
    assert seen == [
        f"stopped: the run is finished, but not its report.html: python -m jaxvit report "
        f"{runs.first} writes it"
    ]


def test_the_command_writes_it_once_more(runs, page, capsys):
    page.unlink()
    assert command("report", runs.first) == 0
    assert capsys.readouterr().out.strip() == str(page)
    assert page.exists()


def test_what_is_no_finished_run_is_one_line(runs, tmp_path, capsys):
    assert command("report", tmp_path) == 2
    assert "is no run: give the directory of one" in capsys.readouterr().err
    outputs = runs.second / "test_outputs.npz"
    content = outputs.read_bytes()
    outputs.write_bytes(content[:100])
    assert command("report", runs.second) == 2
    error = capsys.readouterr().err
    assert "test_outputs.npz cannot be read" in error
    assert error.count("\n") == 1
    outputs.write_bytes(content)


def test_options_that_ask_for_a_run_are_not_repeated():
    """Where the run is repeated there is none yet to be extended."""
    _, config = parse(["digits", "--extend", "--epochs", "3"])
    command = training_command("digits", config)
    assert "--extend" not in command
    assert parse(command.split()[2:])[1] == replace(config, extend=False)


def test_options_given_twice_are_repeated_twice():
    options = evaluate.Options("W", "D", weights_option=("a=1", "b=2"), no_upright=True, json="j")
    words = words_of(options, "json")
    assert words[:2] == ["W", "D"]
    assert "--weights-option a=1 --weights-option b=2" in " ".join(words)
    assert "--no-upright" in words
    assert "--json" not in words


def test_flags_are_repeated_as_flags():
    """An option that is on or off takes no value; one that may also be None does."""
    args = ["digits", "--class-balanced", "--no-keep-programs", "--model.remat",
            "--model.qkv-bias", "False", "--data.mean", "0.25"]  # fmt: skip
    name, config = parse(args)
    command = training_command(name, config)
    assert "--class-balanced --no-keep-programs" in command
    assert "--model.qkv-bias False" in command
    again = command.split()[2:]
    assert parse(again)[1] == config
    _, config = parse(["folder", "--data.dir", "x", "--method", "instance_discrimination",
                       "--data.no-labels", "--epochs", "1", "--batch-size", "8", "--select", "last",
                       "--val-every-epochs", "1", "--model.embed-dim", "8", "--model.num-heads",
                       "2", "--model.init", "vit", "--optim.decay", "all", "--augment.mixup-alpha",
                       "0"])  # fmt: skip
    assert " --data.no-labels " in training_command("folder", config)


def test_the_worst_errors_are_explained_at_the_models_size(runs, tmp_path, monkeypatch):
    seen = []

    def overlays(source, scored):
        seen.extend(scored.images(page_room.worst_rows(scored)))
        return {}

    monkeypatch.setattr(evaluate, "write_evaluation_page", pages.write_evaluation_page)
    monkeypatch.setattr(pages, "SIDE", 8)
    monkeypatch.setattr(pages, "make_overlays", overlays)
    shutil.copytree(runs.photos / "train" / "ant", tmp_path / "photos" / "cat")
    report = tmp_path / "page.html"
    assert command("evaluate", runs.first, tmp_path / "photos", "--report", report) == 0
    assert {image.shape for image in seen} == {(12, 12, 3)}


def test_grad_cam_on_a_page_is_of_the_wrong_answer(runs, monkeypatch):
    seen = []

    def cam(model, weights, images, targets):
        seen.append(np.asarray(targets))
        return np.zeros((len(images), 3, 3), np.float32)

    monkeypatch.setattr(pages, "has_attention", lambda model: False)
    monkeypatch.setattr(pages, "grad_cam", cam)
    scored = page_room.Scored(
        ("a", "b"), np.array([0, 1]), np.array([2, 0]), np.array([0.9, 0.8]), np.zeros(2),
        lambda rows: [np.zeros((12, 12, 3), np.uint8)] * len(rows), {}, np.zeros((3, 3), int),
        (np.zeros(1),) * 3,
    )  # fmt: skip
    assert set(pages.make_overlays(load_run(runs.first), scored)) == {0, 1}
    assert seen[0][:2].tolist() == [2, 0]
