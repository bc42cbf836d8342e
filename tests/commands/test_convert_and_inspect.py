"""python -m jaxvit convert and inspect: bits kept, files not overwritten, what is shown is so."""

import hashlib
import json

import jax
import numpy as np
import pytest
from PIL import Image

from jaxvit.commands import inspect
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.saved_run import load_run
from jaxvit.pictures.figure import make_figure
from jaxvit.pictures.weights import plot_filters, plot_position_similarity
from tests.commands.conftest import command
from tests.test_end_to_end import CLASSES, MEAN


def digest(tree) -> str:
    found = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(tree):
        array = np.asarray(leaf)
        found.update(f"{jax.tree_util.keystr(path)}{array.shape}{array.dtype}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


@pytest.mark.parametrize(
    ("to", "name"),
    [("timm", "w.safetensors"), ("hf", "directory"), ("google", "w.npz"), ("lab", "l.safetensors")],
)
def test_converted_weights_have_the_same_bits_names_and_preprocessing(
    runs, tmp_path, capsys, to, name
):
    before = load_pretrained(runs.first)
    assert command("convert", runs.first, tmp_path / name, "--to", to) == 0
    printed = capsys.readouterr()
    assert f"SHA-256 of the parameters: {digest(before.params)}" in printed.out
    assert "positional_embedding" in printed.out
    if to in ("timm", "google"):
        assert "warning: programs that read" in printed.err
    after = load_pretrained(tmp_path / name)
    assert after.layout == to
    assert digest(after.params) == digest(before.params)
    assert after.class_names == CLASSES
    assert after.preprocessing == before.preprocessing


def test_what_is_there_is_overwritten_only_when_asked(runs, tmp_path, capsys):
    path = tmp_path / "w.safetensors"
    path.write_text("mine")
    args = ["convert", runs.first, path, "--to", "timm"]
    assert command(*args) == 2
    assert f"{path} exists already" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert command(*args, "--overwrite") == 0
    assert load_pretrained(path).num_classes == 3
    directory = tmp_path / "directory"
    directory.mkdir()
    assert command("convert", runs.first, directory, "--to", "hf") == 0  # it is empty
    capsys.readouterr()
    assert command("convert", runs.first, directory, "--to", "hf") == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["{run}", "{tmp}/w.safetensors"], "--to"),
        (["{run}", "{tmp}/w.safetensors", "--to", "keras"], "invalid choice"),
        (["{run}", "{tmp}/w.npz", "--to", "timm"], "does not fit the layout timm"),
        (["{tmp}/w.pth", "{tmp}/w.safetensors", "--to", "timm"], "python -m torch_ref.convert"),
    ],
)
def test_wrong_arguments_of_convert_are_one_line(runs, tmp_path, capsys, args, message):
    (tmp_path / "w.pth").write_bytes(b"PK")
    args = [arg.format(run=runs.first, tmp=tmp_path) for arg in args]
    assert command("convert", *args) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


def test_inspect_shows_what_a_run_is(runs, capsys):
    assert command("inspect", runs.first) == 0
    shown = capsys.readouterr().out
    pretrained = load_pretrained(runs.first)
    summary = json.loads((runs.first / "summary.json").read_text())
    for text in (
        "layout         run\n",
        "2 layers of width 12, 2 heads, 12 pixels in patches of 4, 3 channel(s)",
        "eps 1e-05, gelu erf, pool cls, mlp ratio 4, layer scale no, 0 registers, qkv bias yes",
        f"parameters     {summary['parameters']:,}\n",
        f"SHA-256        {digest(pretrained.params)}\n",
        "squash to 12 pixels, crop share 1, bilinear; mean " + "/".join(map(str, MEAN)),
        f"classes        3: {', '.join(CLASSES)}\n",
        "preset folder; data.name folder",
        "epochs 4, batch_size 8, seed 1",
        f"val/accuracy {summary['best']['val/accuracy']:.4g}",
        f"test/accuracy {summary['test/accuracy']:.4g}",
        f"step {summary['scored_step']}",
        "transformer_encoder/layers_{0..1}/attn/qkv/kernel     12 x 36         loaded",
    ):
        assert text in shown, text


def test_inspect_shows_what_a_file_is(weights, capsys):
    assert command("inspect", weights) == 0
    shown = capsys.readouterr().out
    assert "layout         timm\n" in shown
    assert "short_side to 12 pixels, crop share 0.75, bicubic" in shown
    assert "classes        3, without names\n" in shown
    assert "blocks.{0..1}.attn.qkv.weight" in shown
    assert "preset" not in shown
    assert command("inspect", "nowhere.safetensors") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "nowhere.safetensors does not exist" in line


def test_a_run_of_another_version_is_said_to_be_one(runs, tmp_path, capsys):
    config = json.loads((runs.first / "config.json").read_text())
    config["data"]["of_another_version"] = 1
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert command("inspect", tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "was written by another version of jaxvit" in line
    assert "of_another_version" in line


def test_inspect_draws_the_first_filters_and_the_positions(runs, tmp_path, monkeypatch, capsys):
    assert command("inspect", runs.first, "--draw", tmp_path / "drawn") == 0
    assert capsys.readouterr().err.count("drawn: ") == 2
    for name in ("filters.png", "positions.png"):
        assert Image.open(tmp_path / "drawn" / name).size[0] > 300
    seen = {}
    for name in ("plot_filters", "plot_position_similarity"):

        def plot(array, name=name):
            seen[name] = array
            return make_figure(1, 1, 1, 1)[0]

        monkeypatch.setattr(inspect, name, plot)
    assert command("inspect", runs.first, "--draw", tmp_path / "again") == 0
    params = load_run(runs.first).params
    kernel = np.asarray(params["patch_embedding"]["proj"]["kernel"])
    assert np.array_equal(seen["plot_filters"], kernel.reshape(4, 4, 3, 12))
    p = np.asarray(params["positional_embedding"])[0, 1:].reshape(3, 3, -1)
    cosine = p[0, 2] @ p[1, 0] / np.linalg.norm(p[0, 2]) / np.linalg.norm(p[1, 0])
    assert seen["plot_position_similarity"][0, 2, 1, 0] == pytest.approx(cosine, abs=1e-5)


@pytest.mark.parametrize(("number", "title"), [(10, "10 filters"), (80, "principal components of")])
def test_filters_are_drawn_each_or_as_their_principal_components(number, title):
    kernel = np.random.default_rng(0).normal(size=(5, 5, 3, number))
    figure = plot_filters(kernel)
    assert figure.get_suptitle().startswith(title)
    images = [axis.get_images()[0].get_array() for axis in figure.axes if axis.get_images()]
    assert len(images) == min(number, 64)
    if number == 10:
        expected = kernel[..., 3] - kernel[..., 3].min()
        np.testing.assert_allclose(images[3], expected / expected.max())
    else:
        flat = kernel.reshape(75, 80)
        values, vectors = np.linalg.eigh(np.cov(flat))
        first = np.abs(np.corrcoef(np.ravel(images[0]), vectors[:, values.argmax()])[0, 1])
        assert first == pytest.approx(1)


def test_positions_are_drawn_each_in_its_place():
    similarity = np.random.default_rng(0).uniform(-1, 1, (3, 3, 3, 3))
    figure = plot_position_similarity(similarity)
    drawn = [axis.get_images()[0].get_array() for axis in figure.axes if axis.get_images()]
    assert np.array_equal(drawn[5], similarity[1, 2])
    many = plot_position_similarity(np.zeros((40, 40, 2, 2)))
    assert sum(bool(axis.get_images()) for axis in many.axes) == 13 * 13
