"""Samples of a run: noise, class, sampler, places, and what is refused."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxvit.__main__ import main
from jaxvit.command_line import parse
from jaxvit.commands.sample import Options, _labels
from jaxvit.errors import UserError
from jaxvit.interop.saved_generator import load_generator
from jaxvit.objectives.diffusion import make_schedule
from jaxvit.objectives.samplers import ancestral_sample
from jaxvit.tasks.samples import make_samples, sampling_of, save_images
from jaxvit.tasks.sampling import Sampling, make_guided, make_sampler, make_stages
from tests.tasks.generators import ARGUMENTS, by_hand, cosine_bar, sample

pytestmark = pytest.mark.slow  # a DCGAN and a DDPM are trained for them


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_noise_on_the_way_is_new_at_each_step(root, eta):
    saved = load_generator(root / "diffusion")
    made = make_samples(saved, np.array([0, 7], np.int32), 5, Sampling(4, eta, 1.5))
    key = jax.random.fold_in(jax.random.key(5), 1)
    image = by_hand(saved, key, jnp.array([7]), eta=eta)
    found = np.round((np.clip(image, -1, 1) + 1) * 127.5)
    assert np.abs(found[0] - made[1]).max() <= 1


@pytest.mark.parametrize("variance", ["small", "large"])
def test_the_ancestral_sampler_has_the_variance_of_the_runs_configuration(root, variance):
    saved = load_generator(root / "diffusion")
    diffusion = replace(saved.config.diffusion, variance=variance, guidance=1.0)
    saved = saved._replace(config=replace(saved.config, diffusion=diffusion))
    made = make_samples(saved, np.array([3], np.int32), 5, Sampling(0))
    key = jax.random.fold_in(jax.random.key(5), 0)
    image = ancestral_sample(
        make_guided(saved.model, saved.weights, jnp.array([3]), 1.0),
        make_schedule("cosine", 40),
        lambda number: jax.random.normal(jax.random.fold_in(key, number), (1, 8, 8, 1)),
        variance,
    )
    found = np.round((np.clip(np.asarray(image), -1, 1) + 1) * 127.5)
    assert np.abs(found[0] - made[0]).max() <= 1
    assert found.std() > 1  # not all of one colour, or both variances would give the same


@pytest.mark.parametrize("run", ARGUMENTS)
def test_samples_do_not_depend_on_the_size_of_batches(root, run, capsys):
    for size in ("64", "7"):
        assert sample(root, run, f"{run}{size}", "--n", "33", "--batch-size", size) == 0
    files = sorted(p.relative_to(root / f"{run}64") for p in (root / f"{run}64").rglob("*.png"))
    assert len(files) == 33
    assert str(files[0]) == "0/00000.png"
    assert str(files[-1]) == "9/00029.png"
    for file in files:
        a, b = (np.asarray(Image.open(root / f"{run}{size}" / file), int) for size in (64, 7))
        assert np.abs(a - b).max() <= 1, file
    assert sample(root, run, f"{run}.npz", "--n", "33") == 0
    with np.load(root / f"{run}.npz") as saved:
        assert saved["images"].shape == (33, 8, 8, 1)
        assert saved["labels"].tolist() == [i % 10 for i in range(33)]
        assert saved["class_names"].tolist() == [str(i) for i in range(10)]
        first = np.asarray(Image.open(root / f"{run}64" / "1" / "00021.png"), int)
        assert np.abs(first - saved["images"][21, ..., 0].astype(int)).max() <= 1
    assert "33 images in" in capsys.readouterr().err


def test_a_class_and_a_seed_are_heard(root):
    assert sample(root, "gan", "threes", "--class", "3", "--n", "5") == 0
    assert [p.parent.name for p in (root / "threes").rglob("*.png")] == ["3"] * 5
    assert sample(root, "gan", "s1.npz", "--n", "5") == 0
    assert sample(root, "gan", "s2.npz", "--n", "5", "--seed", "1") == 0
    with np.load(root / "s1.npz") as a, np.load(root / "s2.npz") as b:
        assert not np.array_equal(a["images"], b["images"])


def test_the_sampler_is_that_which_was_asked_for(root):
    made = {}
    for name, more in {
        "own": (), "two": ("--steps", "2"), "all": ("--steps", "0"), "eta": ("--eta", "1"),
        "strong": ("--guidance", "90"), "same": ("--steps", "4", "--guidance", "1.5"),
    }.items():  # fmt: skip
        assert sample(root, "diffusion", f"{name}.npz", "--n", "4", *more) == 0
        with np.load(root / f"{name}.npz") as saved:
            made[name] = saved["images"]
    np.testing.assert_array_equal(made["own"], made["same"])
    others = [made[name] for name in ("own", "two", "all", "eta", "strong")]
    for i, a in enumerate(others):
        for b in others[i + 1 :]:
            assert not np.array_equal(a, b)


@pytest.mark.parametrize(
    ("run", "given", "words"),
    [
        ("gan", ["--steps", "3"], "of diffusion, and"),
        ("gan", ["--eta", "1"], "of diffusion, and"),
        ("gan", ["--guidance", "2"], "of diffusion, and"),
        ("gan", ["--class", "x"], "--class x is none of"),
        ("diffusion", ["--steps", "41"], "--steps 41 is more than the 40"),
        ("diffusion", ["--eta", "1", "--steps", "0"], "ancestral sampler"),
        ("nothing", [], "is not a run directory"),
    ],
)
def test_what_cannot_be_sampled_is_one_line(root, run, given, words, capsys):
    assert sample(root, run, "never", *given) == 2
    error = capsys.readouterr().err.strip()
    assert words in error
    assert "\n" not in error
    assert not (root / "never").exists()


def test_a_place_that_cannot_be_written_is_said_before_the_work(root, capsys, monkeypatch):
    monkeypatch.setattr("jaxvit.commands.sample.make_samples", None)
    for out in ("/proc/x", "/proc/x.npz"):
        assert main(["sample", str(root / "gan"), "--out", out]) == 2
        assert f"--out {out} cannot be written" in capsys.readouterr().err


def test_each_device_makes_its_part_of_the_images(root, monkeypatch):
    traced = []

    def of_rows(*_):
        def sampler(weights, keys, of):
            traced.append(len(of))
            return of.astype(jnp.uint8)[:, None, None, None]

        return sampler

    monkeypatch.setattr("jaxvit.tasks.samples.make_sampler", of_rows)
    made = make_samples(load_generator(root / "diffusion"), np.arange(9, dtype=np.int32), 0)
    assert made[:, 0, 0, 0].tolist() == list(range(9))
    assert set(traced) == {-(-9 // jax.device_count())} != {9}


def test_as_many_images_are_made_together_as_asked(root, tmp_path, monkeypatch):
    asked = []

    def make(saved, labels, seed, sampling, batch_size, track):
        asked.append((len(labels), seed, batch_size))
        return np.zeros((len(labels), 8, 8, 1), np.uint8)

    monkeypatch.setattr("jaxvit.commands.sample.make_samples", make)
    args = ["--n", "20", "--seed", "3", "--batch-size", "7"]
    assert main(["sample", str(root / "gan"), *args, "--out", str(tmp_path / "a.npz")]) == 0
    assert asked == [(20, 3, 7)]


PROGRAM = """
import sys
from jaxvit.__main__ import main
from jaxvit.runtime import cpu
cpu.cores = lambda: 3
code = main(["sample", sys.argv[1], "--n", "2", "--out", sys.argv[2]])
import jax
print(code, jax.device_count())
"""


def test_the_cpu_is_divided_before_jax_starts(root, tmp_path):
    env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    env.pop("JAX_NUM_CPU_DEVICES", None)
    args = [sys.executable, "-c", PROGRAM, str(root / "gan"), str(tmp_path / "out")]
    done = subprocess.run(args, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "0 3\n", done.stderr


@pytest.mark.parametrize("name", ["sample", "quality"])
def test_the_cpu_is_divided_before_anything_is_computed(name, tmp_path, monkeypatch):
    def stop(*_):
        raise UserError("far enough")

    calls = []
    monkeypatch.setattr(f"jaxvit.commands.{name}.divide_cpu", lambda **given: calls.append(given))
    monkeypatch.setattr(f"jaxvit.commands.{name}.load_generator", stop)
    options = ["--out", str(tmp_path / "out")] if name == "sample" else ["--features", "net"]
    assert main([name, str(tmp_path / "gan"), *options]) == 2
    assert calls == [{"one_per_core": True}]


def test_what_is_written_after_a_signal_is_not_left_behind(root, monkeypatch, tmp_path):
    """The staging folder is moved away while images are saved: saving fails."""
    images, labels = np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 0, 1])
    staging = tmp_path / "staging"
    staging.mkdir()
    save, saved = Image.Image.save, []

    def moves(self, path, *args, **options):
        save(self, path, *args, **options)
        saved.append(path)
        if len(saved) == 2:
            staging.rename(tmp_path / "trash")

    monkeypatch.setattr(Image.Image, "save", moves)
    with pytest.raises(OSError, match="No such file"):
        save_images(staging, images, labels, ("a", "b"))
    assert not staging.exists()


def test_nothing_is_written_over(root, capsys):
    (root / "there").mkdir(exist_ok=True)
    assert sample(root, "gan", "there") == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["sample", str(root / "gan"), "--out", str(root / "gan" / "in")]) == 2
    assert "lies in the run" in capsys.readouterr().err


def test_a_generator_is_refused_where_a_model_of_images_is_asked_for(root, capsys):
    for command in (["predict", str(root / "gan"), "x.png"], ["inspect", str(root / "gan")]):
        assert main(command) == 2
        assert f"python -m jaxvit sample {root / 'gan'}" in capsys.readouterr().err
    assert main(["average", str(root / "gan")]) == 2
    assert "--optim.ema-decay" in capsys.readouterr().err


def test_guidance_needs_hidden_classes():
    _, config = parse([*ARGUMENTS["diffusion"], "--diffusion.guidance", "1"])
    for given in (
        replace(config, diffusion=replace(config.diffusion, hide_class=0.0)),
        replace(config, model=replace(config.model, conditional=False)),
    ):
        assert sampling_of(given).guidance == 1
        with pytest.raises(UserError, match="--guidance 2 needs a run with"):
            sampling_of(given, guidance=2.0)
    assert sampling_of(config, guidance=2.0).guidance == 2


def test_the_last_stage_is_the_sample(root):
    saved = load_generator(root / "diffusion")
    strong = replace(saved.config.diffusion, guidance=3000.0)  # or it would hardly show
    config = replace(saved.config, diffusion=strong)
    keys, labels = jax.random.split(jax.random.key(0), 3), jnp.arange(3)
    noise, stages = jax.jit(make_stages(saved.model, config, 5))(saved.weights, keys, labels)
    expected = jax.jit(make_sampler(saved.model, config))(saved.weights, keys, labels)
    assert stages.shape == (5, 3, 8, 8, 1)
    assert np.all(np.diff(noise) < 0)
    np.testing.assert_allclose(noise[:-1], 1 - cosine_bar()[[30, 20, 10, 0]], atol=1e-6)
    assert noise[-1] == 0
    assert np.abs(np.asarray(stages[-1], int) - np.asarray(expected, int)).max() <= 1


def test_colours_are_saved_as_they_are(tmp_path):
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(1, 4, 4, 3)
    save_images(tmp_path, image, np.zeros(1, int), None)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "00000.png")), image[0])


def test_a_folder_is_there_once_it_is_whole(root, tmp_path, monkeypatch):
    out = tmp_path / "made"

    def stops(*_, **options):
        assert not out.exists()
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxvit.commands.sample.make_samples", stops)
    with pytest.raises(KeyboardInterrupt):
        main(["sample", str(root / "gan"), "--out", str(out)])
    assert list(tmp_path.iterdir()) == []


def test_a_class_of_a_run_without_classes_is_refused(root):
    saved = load_generator(root / "gan")
    config = replace(saved.config, model=replace(saved.config.model, conditional=False))
    options = Options(run="r", out="o", class_name="3")
    with pytest.raises(UserError, match="--class 3: r makes images without a class: leave it out"):
        _labels(options, saved._replace(config=config))


def test_a_classifier_makes_no_images(root, tmp_path, capsys):
    written = json.loads((root / "gan" / "config.json").read_text())
    config = dataclasses.asdict(parse(["digits"])[1])
    assert set(written) == set(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert main(["sample", str(tmp_path), "--out", str(tmp_path / "made")]) == 2
    error = capsys.readouterr().err.strip()
    assert "was trained with --method classification, which makes no images" in error
    assert "\n" not in error


def test_samples_of_an_older_state_are_said(root, tmp_path):
    copy = shutil.copytree(root / "gan", tmp_path / "copy")
    whole, said = load_generator(copy, said_nothing), []
    for path in (copy / "checkpoints" / str(whole.step)).rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.write_bytes(b"damaged")
    older = load_generator(copy, said.append)
    assert older.step < whole.step
    assert len(said) == 1


def said_nothing(line: str) -> None:
    raise AssertionError(line)


def test_all_steps_of_a_run_are_steps_of_ddim_too():
    _, config = parse([*ARGUMENTS["diffusion"]])
    assert sampling_of(config, steps=40).steps == 40
