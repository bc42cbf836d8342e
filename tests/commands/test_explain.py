"""python -m jaxvit explain: attributions recomputed from the run, class, names, errors."""

from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxvit import explain
from jaxvit.commands import explain as explain_command
from jaxvit.errors import UserError
from jaxvit.explain import methods
from jaxvit.explain.photos import explain_files, find_class, names_of
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.predictions import make_classifier
from jaxvit.interop.saved_run import load_run
from jaxvit.models.variables import variables_of
from jaxvit.pictures import explanation
from jaxvit.pictures.explanation import scaled
from jaxvit.pictures.figure import make_figure
from tests.commands.conftest import command, scored_step, true_probabilities
from tests.test_end_to_end import CLASSES, MEAN, STD, read_pixels

FEW = ["--methods", "saliency", "integrated_gradients", "attention_rollout"]


@pytest.fixture(scope="module", autouse=True)
def one_device():
    """Each of several would compile every method; tests/explain/test_parts.py has four."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "local_devices", lambda: jax.devices()[:1])
        yield


@pytest.fixture(scope="module")
def photo(runs) -> Path:
    return runs.photos / "test" / CLASSES[0] / "01.png"


@pytest.fixture(scope="module")
def explained(runs, photo, tmp_path_factory):
    """Every method, of the most probable class and of another."""
    out = tmp_path_factory.mktemp("explained")
    run = load_run(runs.first)
    p = true_probabilities(runs.first, scored_step(runs.first), read_pixels(photo)[None])[0]
    best, worst = int(p.argmax()), int(p.argmin())
    args = ["explain", runs.first, photo, "--out", out, "--target", CLASSES[worst], "--seed", "5"]
    assert command(*args) == 0
    with np.load(out / "01.npz") as file:
        arrays = {name: file[name] for name in file.files}
    return run, arrays, (best, worst), out


def test_all_methods_are_of_the_run_the_photo_and_both_classes(explained, photo):
    run, arrays, classes, out = explained
    assert np.array_equal(arrays.pop("image"), read_pixels(photo))
    once = {"attention_map", "attention_rollout"}
    names = {f"{name}/{CLASSES[classes[0]]}" for name in methods.METHODS}
    names.add(f"attention_map_layers/{CLASSES[classes[0]]}")
    names |= {f"{name}/{CLASSES[classes[1]]}" for name in methods.METHODS if name not in once}
    assert arrays.keys() == names
    image = ((read_pixels(photo) / 255 - MEAN) / STD).astype(np.float32)[None]
    function = explain.logits_fn(run.model, variables_of(run.params))
    inside = (run.model, variables_of(run.params), image)
    key, of_baselines = jax.random.split(jax.random.key(5))
    baselines = 0.2 * jax.random.normal(of_baselines, (10, 12, 12, 3))
    for index in classes:
        outside = (function, image, index)
        expected = {
            "saliency": explain.saliency(*outside),
            "input_times_gradient": explain.input_times_gradient(*outside),
            "integrated_gradients": explain.integrated_gradients(*outside, steps=50),
            "deep_lift": explain.deep_lift(*inside, index),
            "gradient_shap": explain.gradient_shap(
                *outside, baselines=baselines, key=key, samples=50, stdevs=0.02
            ),
            "occlusion": explain.occlusion(*outside, window=2, strides=1),
            "grad_cam": explain.grad_cam(*inside, index),
            "attention_map": explain.attention_map(*inside)[:, -1],
            "attention_rollout": explain.attention_rollout(*inside),
            "noise_tunnel": explain.noise_tunnel(
                lambda x, t: explain.integrated_gradients(function, x, t, steps=10),
                image, index, key=jax.random.key(5), samples=10, stdevs=0.2,
            ),
        }  # fmt: skip
        for name, values in expected.items():
            if name in once and index != classes[0]:
                continue
            np.testing.assert_allclose(
                arrays[f"{name}/{CLASSES[index]}"], values[0], rtol=1e-3, atol=1e-5, err_msg=name
            )
        assert expected.keys() == set(methods.METHODS)
    layers = explain.attention_map(*inside)[0]
    assert layers.shape == (2, 3, 3)
    found = arrays[f"attention_map_layers/{CLASSES[classes[0]]}"]
    np.testing.assert_allclose(found, layers, rtol=1e-3, atol=1e-5)
    assert (out / "01.png").stat().st_size > 10_000


def test_the_line_says_classes_and_deltas(runs, photo, explained, tmp_path, capsys):
    run, arrays, (best, _), _ = explained
    assert command("explain", runs.first, photo, "--out", tmp_path, *FEW) == 0
    captured = capsys.readouterr()
    image = ((read_pixels(photo) / 255 - MEAN) / STD).astype(np.float32)[None]
    both = run.model.apply(
        variables_of(run.params), np.concatenate([image, 0 * image]), deterministic=True
    )
    name = CLASSES[best]
    delta = arrays[f"integrated_gradients/{name}"].sum() - (both[0] - both[1])[best]
    said = float(captured.out.split(f"integrated_gradients of {name} ")[1].split()[0].strip(","))
    assert said == pytest.approx(float(delta), rel=0.1, abs=2e-6)
    p = float(jax.nn.softmax(both[0]).max())
    assert captured.out.startswith(f"{photo}: {name} {p:.1%}, ")
    assert "1 figure(s) and their attributions are in" in captured.err
    with np.load(tmp_path / "01.npz") as file:
        assert {each.partition("/")[0] for each in file.files} == {"image", *FEW[1:]}


def test_the_figure_shows_each_method_scaled_by_its_own_sign(explained, photo):
    _, arrays, (best, _), _ = explained
    found = arrays[f"integrated_gradients/{CLASSES[best]}"]
    assert scaled(found, True, 12).min() < 0
    assert scaled(found, False, 12).min() >= 0
    maps = {"signed": (found, True), "grid": (arrays[f"grad_cam/{CLASSES[best]}"], False)}
    figure = explanation.plot_explanation(
        read_pixels(photo) / 255, "a photo", [("bee", 0.7), ("cat", 0.2)],
        [explanation.ClassMaps("bee 70.0%", maps)],
    )  # fmt: skip
    shown = [axis for axis in figure.axes if axis.get_images()]
    titles = [axis.get_title() for axis in shown]
    assert titles == ["a photo", "", "bee 70.0%\nsigned", "\ngrid (size, no sign)"]
    bars = [patch.get_width() for patch in figure.axes[1].patches]
    assert bars == [0.7, 0.2]
    expected = np.clip(explain.overlay(read_pixels(photo) / 255, scaled(found, True, 12)), 0, 1)
    np.testing.assert_allclose(shown[2].get_images()[0].get_array(), expected, atol=1e-6)


def test_progress_is_shown_method_by_method(runs, photo, tmp_path):
    """One step for a method on a photo and, but for attention, on a second class."""
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    source, seen = load_pretrained(runs.first), []

    def track(items, length, what):
        seen.append((length, what))
        for item in items:
            seen.append(item)
            yield item

    for target in (None, 0, 1, 2):
        seen.clear()
        lines = list(explain_files(
            source, make_classifier(source), [photo, bad], ["saliency", "attention_rollout"],
            target, tmp_path / "out", 4, 0, lambda line: None, track,
        ))  # fmt: skip
        number = 2 if target is None else 3
        assert seen[0] == (2 * number, "methods on photos")
        assert len(seen) == 1 + 2 * number
        assert seen[1] is None
        assert [each for each in seen[1:] if each is not None] == lines
        assert len(lines) == 1


def test_a_grey_photo_of_another_size_is_prepared_as_in_training(runs, tmp_path):
    file = tmp_path / "grey.png"
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30).astype(np.uint8)).save(file)
    assert (
        command("explain", runs.first, file, "--out", tmp_path / "out", "--methods", "saliency")
        == 0
    )
    with np.load(tmp_path / "out" / "grey.npz") as found:
        assert found["image"].shape == (12, 12, 3)


def test_a_photo_that_cannot_be_read_is_left_out(runs, photo, tmp_path, capsys):
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    args = ["--out", tmp_path / "out", "--methods", "saliency"]
    assert command("explain", runs.first, bad, photo, *args) == 0
    assert "left out: " in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["01.npz", "01.png"]
    assert command("explain", runs.first, bad, *args) == 2
    assert "none of 1 photo(s) can be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--target", "7"], "--target 7 is no class of this model: give a number from 0 to 2"),
        (["--target", "bea"], "or a name such as bee"),
        (["--methods", "lime"], "--methods lime is no method: choose from saliency, "),
        (["--batch-size", "0"], "--batch-size 0 is too small"),
    ],
)  # fmt: skip
def test_what_does_not_exist_is_one_line(runs, photo, tmp_path, capsys, args, says):
    assert command("explain", runs.first, photo, "--out", tmp_path / "out", *args) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_resnet_has_no_attention_to_show():
    assert methods.choose(("all",), True) == tuple(methods.METHODS)
    able = methods.choose(("all",), False)
    assert set(methods.METHODS) - set(able) == {"attention_map", "attention_rollout"}
    with pytest.raises(methods.UserError, match="--methods attention_rollout needs a model with"):
        methods.choose(("attention_rollout",), False)


def test_a_class_is_found_by_its_name_before_its_number():
    assert find_class("1", ["0", "2", "1"]) == 2
    assert find_class("1", ["a", "b"]) == 1


def test_photos_of_one_name_do_not_overwrite_each_other():
    assert names_of([Path("a/x.jpg"), Path("b/x.jpg"), Path("x-2.png"), Path("x.gif")]) == [
        "x", "x-2", "x-2-2", "x-3"
    ]  # fmt: skip


def test_the_cpu_is_divided_before_anything_is_computed(runs, photo, tmp_path, monkeypatch):
    def stop():
        raise UserError("far enough")

    calls = []
    monkeypatch.setattr(explain_command, "divide_cpu", lambda: calls.append("cpu"))
    monkeypatch.setattr(explain_command.cli, "cache_programs", stop)
    assert command("explain", runs.first, photo, "--out", tmp_path / "out") == 2
    assert calls == ["cpu"]


def test_a_number_after_the_last_class_is_refused():
    assert find_class("1", ["a", "b"]) == 1
    with pytest.raises(UserError, match="--target 2 is no class"):
        find_class("2", ["a", "b"])


def test_photos_are_not_turned_where_that_is_asked(runs, photo, tmp_path):
    args = ["explain", runs.first, photo, "--no-upright", "--methods", "saliency"]
    assert command(*args, "--out", tmp_path) == 0
    stored = Image.open(photo).convert("RGB").resize((12, 12), Image.Resampling.BILINEAR)
    with np.load(tmp_path / "01.npz") as file:
        assert np.array_equal(file["image"], stored)
    assert not np.array_equal(stored, read_pixels(photo))


def test_each_row_of_the_figure_has_its_own_probability(
    runs, photo, explained, tmp_path, monkeypatch
):
    run, _, classes, _ = explained
    seen = []

    def plot(image, title, tops, rows):
        seen.extend(rows)
        return make_figure(1, 1, 1, 1)[0]

    monkeypatch.setattr("jaxvit.explain.photos.plot_explanation", plot)
    args = ["explain", runs.first, photo, "--out", tmp_path, "--target", CLASSES[classes[1]]]
    assert command(*args, "--methods", "saliency", "grad_cam", "input_times_gradient") == 0
    p = true_probabilities(runs.first, scored_step(runs.first), read_pixels(photo)[None])[0]
    assert [row.label for row in seen] == [f"{CLASSES[i]} {p[i]:.1%}" for i in classes]
    assert [signed for _, signed in seen[0].maps.values()] == [
        methods.METHODS[name].signed for name in ("saliency", "grad_cam", "input_times_gradient")
    ]
