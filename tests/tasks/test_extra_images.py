"""Generated images among those that are trained on."""

import json
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import train_jax
from jaxvit.__main__ import main
from jaxvit.command_line import parse
from jaxvit.data.cache import no_tracking
from jaxvit.data.datasets import load_dataset
from jaxvit.errors import UserError
from jaxvit.interop.saved_generator import load_generator
from jaxvit.tasks.extra_images import with_sampled
from tests.tasks.generators import sample


def test_generated_images_are_trained_on_alone_and_named(root, capsys):
    assert sample(root, "gan", "extra", "--n", "200") == 0
    args = ["digits", "--epochs", "1", "--model.embed-dim", "16", "--model.num-layers", "1",
            "--data.train-per-class", "13", "--data.extra-dir", str(root / "extra"),
            "--data.extra-share", "0.4", "--data.cache-dir", str(root / "cache")]  # fmt: skip
    assert train_jax.main([*args, "--out", str(root / "with")]) == 0
    assert "of these, 90 training images" in " ".join(capsys.readouterr().out.split())
    split = json.loads((root / "with" / "split.json").read_text())
    alone = json.loads((root / "gan" / "split.json").read_text())
    assert split["train"].items() > alone["train"].items()
    assert split["val"] == alone["val"]
    assert split["test"] == alone["test"]
    extra = [name for name in split["train"] if name.startswith("extra/")]
    assert len(extra) == split["extra_images"] == 90  # 13 * .4 / .6 = 8.67 of each class
    assert len(split["train"]) == 220
    assert all(name.startswith("extra/0/") for name in extra)
    classes = [name.split("/")[2] for name in extra]
    assert classes == sorted(classes)
    assert {classes.count(each) for each in classes} == {9}
    _, config = parse([*args])
    train = load_dataset(config.data, 8, 1).train
    for row in (0, 129, 130, 175, 219):
        name = train.names[row]
        if name.startswith("extra/"):
            pixels = np.asarray(Image.open(root / name.replace("extra/0", "extra")))
            assert split["train"][name] == f"{zlib.crc32(pixels.tobytes()):08x}"
            assert train.labels[row] == int(name.split("/")[2])
        else:
            index = int(name.partition("/")[2])
            pixels = np.round(load_digits().images[index] * (255 / 16)).astype(np.uint8)
        np.testing.assert_array_equal(train.images(np.array([row]))[0, ..., 0], pixels)
    mixed = train.images(np.array([219, 0, 130]))
    np.testing.assert_array_equal(mixed[1], train.images(np.array([0]))[0])
    np.testing.assert_array_equal(mixed[2], train.images(np.array([130]))[0])


@pytest.mark.slow
def test_two_runs_make_half_of_the_images_each(root, capsys):
    args = ["digits", "--epochs", "1", "--model.embed-dim", "16", "--model.num-layers", "1",
            "--data.train-per-class", "13", "--data.cache-dir", str(root / "cache"),
            "--data.extra-dir", str(root / "gan"), str(root / "diffusion")]  # fmt: skip
    assert train_jax.main([*args, "--out", str(root / "both")]) == 0
    split = json.loads((root / "both" / "split.json").read_text())
    extra = [name for name in split["train"] if name.startswith("extra/")]
    assert len(extra) == split["extra_images"] == 60  # 13 * .3 / .7 = 5.57 of each class
    places = [name.split("/")[1] for name in extra]
    assert [places.count(each) for each in dict.fromkeys(places)] == [30, 30]
    assert list(dict.fromkeys(places)) == ["0", "1"]
    made = sorted((root / "cache").glob("samples-*/"))
    assert [len(list(place.rglob("*.png"))) for place in made] == [30, 30]
    # What the first run makes from the seed of the split, three of each class in turn.
    saved = load_generator(root / "gan")
    key = jax.random.fold_in(jax.random.key(0), 4)
    image = saved.model.apply(saved.weights, jax.random.normal(key, (1, 6)), jnp.array([1]))
    expected = np.round((np.asarray(image)[0, ..., 0] + 1) * 127.5)
    found = [np.asarray(Image.open(place / "1" / "00004.png"), int) for place in made]
    assert min(np.abs(image - expected).max() for image in found) <= 1
    (made[0] / "3" / "00010.png").unlink()  # what is missing is made again
    again = [*args, "--out", str(root / "again")]
    capsys.readouterr()
    assert train_jax.main(again) == 0
    assert capsys.readouterr().out.count("batches of images") == 1
    assert train_jax.main([*args, "--out", str(root / "third")]) == 0
    assert "batches of images" not in capsys.readouterr().out
    of_other = json.loads((root / "again" / "split.json").read_text())
    assert of_other == split
    # Its page and its scores are of real images alone, also where the generator is gone.
    (root / "gan").rename(root / "moved")
    try:
        assert main(["report", str(root / "both")]) == 0
        for split in ("train", "test"):
            given = [str(root / "both"), split, "--json", str(root / f"{split}.json")]
            assert main(["evaluate", *given, "--report", str(root / "r.html")]) == 0
    finally:
        (root / "moved").rename(root / "gan")
    summary = json.loads((root / "both" / "summary.json").read_text())
    assert json.loads((root / "train.json").read_text())["n"] == 130
    evaluated = json.loads((root / "test.json").read_text())
    assert evaluated["accuracy"] == pytest.approx(summary["test/accuracy"])


def test_a_generator_that_has_seen_images_that_are_scored_is_refused(root):
    _, config = parse(["digits", "--data.train-per-class", "13", "--data.split-seed", "1",
                       "--data.extra-dir", str(root / "gan")])  # fmt: skip
    with pytest.raises(UserError, match=r"was trained on \d+ images that validate or test here"):
        with_sampled(config.data, no_tracking)


def test_too_few_generated_images_are_one_line(root, tmp_path):
    (tmp_path / "e" / "3").mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "e" / "3" / "0.png")
    given = ["digits", "--data.extra-dir", str(tmp_path / "e")]
    _, config = parse(given)
    with pytest.raises(UserError, match=r"has 0 images of class '0', and --data.extra-share 0.3"):
        load_dataset(config.data, 8, 1)
    (tmp_path / "e" / "cat").mkdir()
    with pytest.raises(UserError, match="has a folder 'cat', which is no class"):
        load_dataset(config.data, 8, 1)
    _, config = parse(["digits", "--data.extra-dir", str(tmp_path), "--data.extra-share", ".001"])
    with pytest.raises(UserError, match=r"--data.extra-share 0.001 takes no image of"):
        load_dataset(config.data, 8, 1)
    with pytest.raises(UserError, match="names a place twice"):
        parse(["digits", "--data.extra-dir", str(tmp_path), str(tmp_path)])
    (tmp_path / "empty").mkdir()
    _, config = parse(["digits", "--data.extra-dir", str(tmp_path / "empty")])
    with pytest.raises(UserError, match=r"has 0 images of class '0'"):
        load_dataset(config.data, 8, 1)
    _, config = parse(["digits", "--data.extra-dir", str(tmp_path / "none")])
    with pytest.raises(UserError, match="is not a directory"):
        load_dataset(config.data, 8, 1)
