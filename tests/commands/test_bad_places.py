"""Odd places, names and files given to the commands: one line, and nothing is lost."""

import io
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import train_jax
from jaxvit.errors import UserError
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.weights_file import read_weights_file
from jaxvit.runtime import interrupt
from tests.commands.conftest import command


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(np.full((20, 20, 3), 90, np.uint8)).save(path)
    return path


def refused(capsys, *args) -> str:
    assert command(*args) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert "\n" not in said
    return said


def test_a_pipe_is_written_to_and_stays_one(runs, photo, tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    assert command("predict", runs.first, photo, "--csv", pipe) == 0
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)
    reader.join(timeout=60)
    assert read[0].startswith("path,class_1")


def test_a_link_stays_and_its_target_is_replaced(runs, photo, tmp_path):
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    target.write_text("old")
    link.symlink_to(target)
    assert command("predict", runs.first, photo, "--csv", link) == 0
    assert link.is_symlink()
    assert target.read_text().startswith("path,class_1")


def test_what_is_read_is_never_written_over(runs, weights, photo, tmp_path, capsys):
    pixels = photo.read_bytes()
    said = refused(capsys, "predict", runs.first, tmp_path, "--csv", photo)
    assert "would be written over what is read" in said
    assert photo.read_bytes() == pixels
    copy = tmp_path / "w.safetensors"
    shutil.copyfile(weights, copy)
    assert "written over" in refused(capsys, "predict", copy, photo, "--csv", copy)
    assert copy.read_bytes() == weights.read_bytes()
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\n")
    args = ("evaluate", copy, runs.photos, "--classes", names, "--json", names)
    assert "written over" in refused(capsys, *args)
    assert names.read_text() == "a\nb\nc\n"


@pytest.mark.parametrize("name", ["config.json", "split.json", "new.csv"])
def test_a_run_holds_its_own_files_alone(runs, photo, tmp_path, capsys, name):
    run = tmp_path / "run"
    shutil.copytree(runs.first, run)
    said = refused(capsys, "predict", run, photo, "--csv", run / name)
    assert "lies in the run" in said
    assert "lies in the run" in refused(capsys, "convert", run, run / "x", "--to", "hf")
    out = run / "checkpoints" / "99"
    assert "lies in the run" in refused(capsys, "average", run, "--best", "2", "--out", out)
    assert sorted(path.name for path in run.iterdir()) == sorted(
        path.name for path in runs.first.iterdir()
    )


def test_one_file_under_two_names_is_noticed(runs, photo, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    first, second = tmp_path / "out" / "q.csv", f"{tmp_path}/out/../out/q.csv"
    said = refused(capsys, "predict", runs.first, photo, "--csv", first, "--json", second)
    assert "--csv and --json name the same file" in said


def test_the_average_of_the_run_that_one_stands_in_is_beside_it(runs, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(runs.first, run)
    monkeypatch.chdir(run)
    assert command("average", ".", "--best", "2") == 0
    assert (tmp_path / "run-soup" / "summary.json").is_file()


def test_an_average_cannot_be_extended_and_stays(runs, tmp_path, capsys):
    soup = tmp_path / "soup"
    assert command("average", runs.first, "--best", "2", "--out", soup) == 0
    summary = (soup / "summary.json").read_bytes()
    config = json.loads((soup / "config.json").read_text())
    capsys.readouterr()
    args = ["folder", "--data.dir", str(runs.photos), "--out", str(soup), "--extend", "--epochs"]
    assert train_jax.main([*args, str(config["epochs"] + 1)]) == 2
    assert "is an average, which has no state of an optimiser" in capsys.readouterr().err
    assert (soup / "summary.json").read_bytes() == summary
    assert not (soup / "damaged").exists()


# convert


def test_an_npz_and_its_settings_are_written_together_or_not_at_all(runs, tmp_path, capsys):
    beside = tmp_path / "m.npz.json"
    beside.write_text("mine")
    said = refused(capsys, "convert", runs.first, tmp_path / "m.npz", "--to", "google")
    assert "m.npz.json exists already" in said
    assert beside.read_text() == "mine"
    beside.unlink()
    beside.mkdir()
    args = ("convert", runs.first, tmp_path / "m.npz", "--to", "google", "--overwrite")
    assert "is a directory, where a file is to be" in refused(capsys, *args)
    assert not (tmp_path / "m.npz").exists()
    beside.rmdir()
    assert command(*args) == 0
    assert load_pretrained(tmp_path / "m.npz").class_names is not None


def test_a_directory_is_written_whole_or_not_at_all(runs, tmp_path, capsys):
    place = tmp_path / "d"
    assert command("convert", runs.first, place, "--to", "hf") == 0
    before = (place / "model.safetensors").read_bytes()
    (place / "config.json").unlink()
    (place / "config.json").mkdir()
    args = ("convert", runs.second, place, "--to", "hf", "--overwrite")
    assert "is a directory, where a file is to be" in refused(capsys, *args)
    assert (place / "model.safetensors").read_bytes() == before
    assert not [path for path in place.iterdir() if "partial" in path.name]


def test_weights_that_would_be_read_instead_are_not_left_beside_others(runs, tmp_path, capsys):
    place = tmp_path / "d"
    assert command("convert", runs.first, place, "--to", "timm") == 0
    capsys.readouterr()
    said = refused(capsys, "convert", runs.second, place, "--to", "google", "--overwrite")
    assert "holds model.safetensors already" in said


@pytest.mark.parametrize("name", ["w.pth", "w.SAFETENSORS", "model.json"])
def test_a_name_of_a_file_makes_no_directory(runs, tmp_path, capsys, name):
    said = refused(capsys, "convert", runs.first, tmp_path / name, "--to", "timm")
    assert "is named as a file that is not written here" in said
    assert not (tmp_path / name).exists()


# Damaged runs and files


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("split.json", {"class_names": ["a", "b"]}, "head/bias has the shape (2,)"),
        ("split.json", {"class_names": "abc"}, "are no list of names"),
        ("config.json", {"model": {"img_size": 20}}, "positional_embedding has the shape"),
    ],
)
def test_a_run_whose_files_describe_another_model_is_refused(
    runs, photo, tmp_path, capsys, file, values, message
):
    run = tmp_path / "run"
    shutil.copytree(runs.first, run)
    written = json.loads((run / file).read_text())
    for name, value in values.items():
        written[name] = written[name] | value if isinstance(value, dict) else value
    (run / file).write_text(json.dumps(written))
    assert message in refused(capsys, "predict", run, photo)
    assert command("inspect", run) == 2


@pytest.mark.parametrize("how", ["empty", "half", "gone"])
def test_a_damaged_checkpoint_is_one_line(runs, photo, tmp_path, how):
    """In a process of its own: what tensorstore prints comes after the command's own lines."""
    run = tmp_path / "run"
    shutil.copytree(runs.first, run)
    for directory in (run / "checkpoints").iterdir():
        files = [path for path in (directory / "params").rglob("d/*") if path.is_file()]
        largest = max(files, key=lambda path: path.stat().st_size)
        if how == "gone":
            largest.unlink()
        else:
            os.truncate(largest, 0 if how == "empty" else largest.stat().st_size // 2)
    script = (
        "import sys, time\nfrom jaxvit.__main__ import main\ncode = main(sys.argv[1:])\n"
        "time.sleep(1)\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "predict", str(run), str(photo)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    steps = len(list((run / "checkpoints").iterdir()))
    assert len(lines) == steps + 1, done.stderr
    assert lines[-1].startswith("error: no checkpoint under")


@pytest.mark.parametrize(
    "config",
    [
        {"architecture": "x", "model_args": [1]},
        {"hidden_act": ["gelu"]},
        {"architecture": "x", "pretrained_cfg": {"input_size": 3}},
        {"image_size": [1, [2]]},
    ],
)
def test_a_configuration_of_an_unknown_form_is_one_line(weights, tmp_path, capsys, config):
    place = tmp_path / "d"
    place.mkdir()
    shutil.copyfile(weights, place / "model.safetensors")
    (place / "config.json").write_text(json.dumps(config))
    found = read_weights_file(place / "model.safetensors")
    assert found.tensors
    said = refused(capsys, "inspect", place)
    assert "config.json beside the weights is not in a form that is known" in said


def test_numbers_beyond_float32_and_layers_beyond_reason_are_named(weights, tmp_path, capsys):
    from safetensors.numpy import save_file

    tensors = read_weights_file(weights).tensors
    large = {name: array.astype(np.float64) for name, array in tensors.items()}
    large["norm.bias"][0] = 1e300
    save_file(large, tmp_path / "large.safetensors")
    said = refused(capsys, "inspect", tmp_path / "large.safetensors")
    assert "norm.bias" in said
    assert "infinite in float32" in said
    tensors["blocks.1000.norm1.weight"] = tensors["norm.bias"]
    save_file(tensors, tmp_path / "deep.safetensors")
    said = refused(capsys, "inspect", tmp_path / "deep.safetensors")
    assert "layer 1000:" in said


# Names, streams and the end of the process


def test_control_characters_in_names_reach_no_terminal(runs, photo, tmp_path, capsys):
    odd = tmp_path / "a\nb\x1b[31m.jpg"
    shutil.copyfile(photo, odd)
    assert command("predict", runs.first, odd, "--json", tmp_path / "x.json") == 0
    assert json.loads((tmp_path / "x.json").read_text())[0]["path"] == str(odd)
    capsys.readouterr()
    assert command("predict", runs.first, odd) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "\x1b" not in out
    odd.write_bytes(b"")
    said = refused(capsys, "predict", runs.first, odd, "--on-error", "stop")
    assert "\x1b" not in said


@pytest.mark.parametrize("closed", [False, True])
def test_a_locale_without_a_letter_and_a_closed_stdout_end_nothing(runs, photo, tmp_path, closed):
    run = tmp_path / "run"
    shutil.copytree(runs.first, run)
    split = json.loads((run / "split.json").read_text())
    split["class_names"][0] = "café"
    (run / "split.json").write_text(json.dumps(split))
    line = f"{sys.executable} -m jaxvit predict {run} {photo}" + (" >&-" if closed else "")
    done = subprocess.run(
        line, shell=True, capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert closed or b"caf\\xe9" in done.stdout


def test_a_letter_that_stdout_has_not_is_escaped(runs, photo, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(runs.first, run)
    split = json.loads((run / "split.json").read_text())
    split["class_names"][0] = "café"
    (run / "split.json").write_text(json.dumps(split))
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert command("predict", run, photo) == 0
    stream.flush()
    assert b"caf\\xe9" in stream.buffer.getvalue()


def test_reads_that_end_too_late_print_nothing(runs, photo, monkeypatch):
    shown = []
    monkeypatch.setattr(sys, "unraisablehook", shown.append)
    assert command("predict", runs.first, photo) == 0
    for message in ("Event loop is closed", "something else"):
        sys.unraisablehook(SimpleNamespace(exc_value=RuntimeError(message)))
    assert [str(each.exc_value) for each in shown] == ["something else"]


def test_names_of_classes_are_a_line_each(weights, runs, tmp_path, capsys):
    names = tmp_path / "names.txt"
    known = sorted(path.name for path in runs.photos.iterdir())
    names.write_text("\ufeff" + "\r\n".join(known) + "\r\n", encoding="utf-8")
    assert command("evaluate", weights, runs.photos, "--classes", names) == 0
    capsys.readouterr()
    for lines in ([known[0]] * len(known), [known[0], "", *known[2:]]):
        names.write_text("\n".join([*lines, *known[len(lines) :]]))
        said = refused(capsys, "evaluate", weights, runs.photos, "--classes", names)
        assert "give each class a line and a name of its own" in said


def test_a_cache_that_cannot_be_used_ends_no_prediction(runs, photo, monkeypatch):
    def refuse(option, value):
        raise UserError("no")

    monkeypatch.setattr("jaxvit.commands.arguments.user_path", refuse)
    assert command("predict", runs.first, photo) == 0


def test_other_errors_of_the_system_do_not_speak_of_resuming(capsys):
    from jaxvit.command_line import fail

    assert fail(OSError(5, "broken"), resumes=False) == 2
    assert "resumes" not in capsys.readouterr().err
    assert fail(OSError(5, "broken")) == 2
    assert "resumes from the last checkpoint" in capsys.readouterr().err


def test_a_class_linked_twice_is_refused(runs, tmp_path, capsys):
    images = tmp_path / "images"
    shutil.copytree(runs.photos, images)
    first = sorted((images / "train").iterdir())[0]
    (images / "train" / "again").symlink_to(first)
    args = ["folder", "--data.dir", str(images / "train"), "--out", str(tmp_path / "run")]
    assert train_jax.main(args) == 2
    assert "are one file, which could then be trained on and tested" in capsys.readouterr().err


def test_what_fails_while_a_signal_ends_the_process_says_nothing(monkeypatch):
    waited = []

    class Waiting:
        def wait(self):
            waited.append(1)

    monkeypatch.setattr(interrupt.threading, "Event", Waiting)
    for exiting, times in ((True, 1), (False, 1)):
        monkeypatch.setattr(interrupt, "_exiting", exiting)
        interrupt.wait_if_exiting()
        assert len(waited) == times


def test_a_tilde_stands_for_the_home_directory(runs, weights, photo, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(runs.first.parent))
    run = f"~/{runs.first.name}"
    assert command("average", run, "--out", tmp_path / "soup") == 0
    assert command("evaluate", run, "test", "--report", tmp_path / "page.html") == 0
    capsys.readouterr()
    assert command("inspect", run) == 0
    assert "preset folder" in capsys.readouterr().out
    said = refused(capsys, "predict", f"~/{weights.name}", photo, "--json", weights)
    assert "would be written over what is read" in said


def test_a_photo_may_have_the_name_of_no_home(weights, photo, tmp_path, monkeypatch, capsys):
    shutil.copy(photo, tmp_path / "~nobody.jpg")
    monkeypatch.chdir(tmp_path)
    assert command("predict", weights, "~nobody.jpg", "--csv", "x.csv") == 0


@pytest.mark.parametrize("name", ["predict", "evaluate", "explain", "convert", "inspect"])
def test_weights_options_reach_the_weights(name, runs, weights, photo, tmp_path, capsys):
    after = {
        "predict": [photo], "evaluate": [runs.photos / "test"], "explain": [photo],
        "convert": [tmp_path / "x.safetensors", "--to", "timm"], "inspect": [],
    }[name]  # fmt: skip
    given = ["--weights-option", "gelu=tanh", "--weights-option", "heads=3"]
    assert "'heads' is no option of loading" in refused(capsys, name, weights, *after, *given)


def test_a_weights_option_counts_before_what_is_found(weights, capsys):
    assert command("inspect", "--weights-option", "num_heads=3", weights) == 0
    shown = capsys.readouterr().out
    assert "2 layers of width 12, 3 heads" in shown
    assert "from an option: num_heads 3" in shown
