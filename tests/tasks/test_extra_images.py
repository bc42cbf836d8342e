"""Generated images among those that are trained on."""

import json
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

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
from jaxvit.interop.labelled import described
from jaxvit.interop.saved_generator import load_generator
from jaxvit.tasks import extra_images
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
    image = jax.jit(saved.model.apply)(
        saved.weights, jax.random.normal(key, (1, 6)), jnp.array([1])
    )
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


@pytest.mark.parametrize("split", ["val", "test"])
def test_images_of_every_scored_split_are_kept_from_generators(root, split, monkeypatch):
    given = ["digits", "--data.train-per-class", "13", "--data.extra-dir", str(root / "gan")]
    _, config = parse(given)
    checksum = next(iter(described(root / "gan", split).values()))
    monkeypatch.setattr(extra_images, "described", lambda path, of: {"another name": checksum})
    with pytest.raises(UserError, match="was trained on 1 images that validate or test here"):
        with_sampled(config.data, no_tracking)


def test_a_generator_of_other_classes_is_refused(root, monkeypatch):
    def other(path):
        return load_generator(path)._replace(class_names=("a",) * 10)

    monkeypatch.setattr(extra_images, "load_generator", other)
    _, config = parse(["digits", "--data.extra-dir", str(root / "gan")])
    with pytest.raises(UserError, match="makes images of other classes"):
        with_sampled(config.data, no_tracking)


def test_cached_samples_are_of_the_weights_and_the_seed(root, tmp_path, monkeypatch):
    given = ["digits", "--data.train-per-class", "3", "--data.extra-dir", str(root / "gan"),
             "--data.cache-dir", str(tmp_path)]  # fmt: skip

    def place(*more: str) -> str:
        return with_sampled(parse([*given, *more])[1].data, no_tracking).extra_dir[0]

    monkeypatch.setattr(extra_images, "described", lambda path, of: {})
    first, same, seeded = place(), place(), place("--data.split-seed", "1")
    more = place("--data.extra-share", "0.5")

    def retrained(path):
        saved = load_generator(path)
        return saved._replace(weights=jax.tree.map(lambda x: x * 1.5, saved.weights))

    monkeypatch.setattr(extra_images, "load_generator", retrained)
    assert first == same
    assert more != first
    assert len({first, seeded, place()}) == 3

    def guided(path):
        saved = load_generator(path)
        other = replace(saved.config.diffusion, guidance=3.0)
        return saved._replace(config=replace(saved.config, diffusion=other))

    monkeypatch.setattr(extra_images, "load_generator", guided)
    assert place() != first


def test_images_are_told_apart_by_their_pixels_and_not_by_their_names(root, tmp_path, monkeypatch):
    """cat/0.png of train/ and of test/ are two images; and one photo may have two names."""
    rng, checksums = np.random.default_rng(0), {}
    for split in ("train", "val", "test"):
        for name in "ab":
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for number in range(4):
                pixels = rng.integers(0, 256, (8, 8), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / name / f"{number}.png")
                checksums[split, name, number] = f"{zlib.crc32(pixels.repeat(3).tobytes()):08x}"
    twice = tmp_path / "data" / "train" / "b" / "0.png"
    shutil.copy(twice, tmp_path / "data" / "test" / "b" / "twice.png")
    _, config = parse(["folder", "--data.dir", str(tmp_path / "data"), "--data.extra-dir",
                       str(root / "gan"), "--data.cache-dir", str(tmp_path / "c")])  # fmt: skip
    known = {"a/0.png": "00000000", "b/3.png": checksums["train", "b", 0]}
    monkeypatch.setattr(extra_images, "described", lambda path, of: known)

    def two(path):
        return load_generator(path)._replace(class_names=("a", "b"))

    monkeypatch.setattr(extra_images, "load_generator", two)
    assert with_sampled(config.data, no_tracking).extra_dir[0].startswith(str(tmp_path / "c"))
    known["photo.png"] = checksums["test", "a", 1]
    with pytest.raises(UserError, match=r"was trained on 1 images .*, such as photo.png"):
        with_sampled(config.data, no_tracking)


def test_unreadable_generated_images_are_left_out_and_others_drawn_by_the_seed(tmp_path):
    rng = np.random.default_rng(0)
    for label in range(10):
        (tmp_path / "e" / str(label)).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(1, 256, (8, 8), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "e" / str(label) / f"{number}.png")
        (tmp_path / "e" / str(label) / "0.png").write_bytes(b"no image")
    chosen = []
    for seed in ("0", "1"):
        _, config = parse(["digits", "--data.train-per-class", "3", "--data.extra-dir",
                           str(tmp_path / "e"), "--data.extra-share", "0.5", "--data.split-seed",
                           seed, "--data.on-error", "skip", "--data.stored-scale", "1.5",
                           "--data.cache-dir", str(tmp_path / "c")])  # fmt: skip
        data = load_dataset(config.data, 8, 1)
        assert len(data.skipped) == 10
        assert data.extra == 30
        names = data.train.names[-30:]
        assert not any(name.endswith("/0.png") for name in names)
        images = data.train.images(np.arange(60))
        assert images.shape == (60, 12, 12, 1)
        assert images[-30:].min(axis=(1, 2, 3)).max() > 0  # none is black
        chosen.append(names)
    assert chosen[0] != chosen[1]


def test_a_class_called_extra_is_no_generated_image(tmp_path):
    whole = {"train": {"extra/0.png": "a", "b/1.png": "b", "extra/0/b/2.png": "c"},
             "test": {"extra/3.png": "d"}, "extra_images": 1}  # fmt: skip
    (tmp_path / "split.json").write_text(json.dumps(whole))
    assert described(tmp_path, "train") == {"extra/0.png": "a", "b/1.png": "b"}
    assert described(tmp_path, "test") == {"extra/3.png": "d"}


def test_too_few_generated_images_are_one_line(root, tmp_path):
    (tmp_path / "e" / "3").mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "e" / "3" / "0.png")
    given = ["digits", "--data.extra-dir", str(tmp_path / "e")]
    _, config = parse(given)
    with pytest.raises(UserError, match=r"has 0 images of class '0'.* more into .*e/0, or lower"):
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


def test_seen_images_are_found_whatever_size_is_stored(root, tmp_path):
    given = ["digits", "--data.train-per-class", "13", "--data.split-seed", "1",
             "--data.stored-scale", "1.5", "--data.extra-dir", str(root / "gan"),
             "--data.cache-dir", str(tmp_path)]  # fmt: skip
    with pytest.raises(UserError, match="images that validate or test here"):
        with_sampled(parse(given)[1].data, no_tracking)


def test_an_image_is_known_however_the_generator_has_turned_it(root, tmp_path, monkeypatch):
    """The generator's photos lay as they are stored; those of the classifier stand upright."""
    rng, exif = np.random.default_rng(0), Image.Exif()
    exif[0x0112] = 6
    for split, number in (("train", 4), ("val", 1), ("test", 1)):
        for name in "ab":
            for index in range(number):
                path = tmp_path / "photos" / split / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(path, exif=exif)
    stored = np.asarray(Image.open(tmp_path / "photos" / "test" / "a" / "0.png"))
    seen = {"another name": f"{zlib.crc32(stored.tobytes()):08x}"}
    saved = load_generator(root / "gan")
    turned = replace(saved.config, data=replace(saved.config.data, exif=False))
    monkeypatch.setattr(
        extra_images,
        "load_generator",
        lambda path: saved._replace(config=turned, class_names=("a", "b")),
    )
    monkeypatch.setattr(extra_images, "described", lambda path, of: seen)
    _, config = parse(["folder", "--data.dir", str(tmp_path / "photos"),
                       "--data.cache-dir", str(tmp_path / "cache"), "--data.exif", "True",
                       "--data.extra-dir", str(root / "gan")])  # fmt: skip
    with pytest.raises(UserError, match="was trained on 1 images that validate or test here"):
        with_sampled(config.data, no_tracking)


def constant_images(place: Path, number: int, value: int) -> Path:
    """So many images of each class of digits, of one colour: value + class."""
    for label in range(10):
        (place / str(label)).mkdir(parents=True)
        for index in range(number):
            pixels = np.full((8, 8), value + label, np.uint8)
            Image.fromarray(pixels).save(place / str(label) / f"{index}.png")
    return place


def test_images_of_two_folders_are_those_of_their_files(tmp_path):
    folders = [
        constant_images(tmp_path / name, 3, value) for name, value in (("a", 100), ("b", 200))
    ]
    _, config = parse(["digits", "--data.train-per-class", "4", "--data.extra-share", "0.5",
                       "--data.extra-dir", *map(str, folders),
                       "--data.cache-dir", str(tmp_path / "c")])  # fmt: skip
    train = load_dataset(config.data, 8, 1).train
    found = train.images(np.arange(len(train)))
    places = []
    for name, label, image in zip(train.names, train.labels, found, strict=True):
        if name.startswith("extra/"):
            _, place, of, _ = name.split("/")
            assert int(of) == label
            assert np.all(image == 100 + 100 * int(place) + label)
            places.append(place)
    assert places.count("0") == places.count("1") == 20


def test_a_folder_stands_beside_a_run(root, tmp_path):
    folder = constant_images(tmp_path / "e", 3, 9)
    _, config = parse(["digits", "--data.train-per-class", "13", "--data.extra-dir", str(folder),
                       str(root / "gan"), "--data.cache-dir", str(tmp_path / "c")])  # fmt: skip
    first, second = with_sampled(config.data, no_tracking).extra_dir
    assert first == str(folder)
    assert Path(second).name.startswith("samples-")


def test_samples_that_another_process_has_just_made_are_taken(root, tmp_path, monkeypatch):
    """It holds the lock; what it made is there when the lock is ours."""
    locked, save = [], extra_images.save_images

    class Lock:
        def __init__(self, path):
            self.place = path.with_suffix("")

        def __enter__(self):
            locked.append(self.place)
            if not self.place.exists():
                self.place.mkdir()
                save(self.place, np.zeros((60, 8, 8, 1), np.uint8), labels, names)

        def __exit__(self, *_):
            pass

    def never(*_, **options):
        raise AssertionError("made again")

    labels, names = np.repeat(np.arange(10), 6), tuple(map(str, range(10)))
    monkeypatch.setattr(extra_images, "FileLock", Lock)
    monkeypatch.setattr(extra_images, "make_samples", never)
    _, config = parse(["digits", "--data.train-per-class", "13", "--data.extra-dir",
                       str(root / "gan"), "--data.cache-dir", str(tmp_path)])  # fmt: skip
    (place,) = with_sampled(config.data, no_tracking).extra_dir
    assert locked == [Path(place)]
    assert len(list(Path(place).rglob("*.png"))) == 60


@pytest.mark.parametrize("inside", ["", "made"])
def test_a_run_does_not_replace_what_it_is_trained_on(tmp_path, inside):
    out = tmp_path / "run"
    given = ["digits", "--out", str(out), "--overwrite", "--data.extra-dir", str(out / inside)]
    with pytest.raises(UserError, match=r"--data.extra-dir .* lies in --out"):
        parse(given)


@pytest.mark.parametrize("option", ["--out", "--data.cache-dir"])
def test_places_inside_the_generated_images_are_refused(tmp_path, option):
    """The folder would then hold one that is no class, and the run could never be resumed."""
    (tmp_path / "made").mkdir()
    given = ["digits", "--data.extra-dir", str(tmp_path / "made")]
    with pytest.raises(UserError, match=f"{option} .* lies in --data.extra-dir"):
        parse([*given, option, str(tmp_path / "made" / "run")])


def test_a_share_of_nearly_all_images_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"--data.extra-share 0.99999 is out of range"):
        parse(["digits", "--data.extra-dir", str(tmp_path), "--data.extra-share", "0.99999"])


@pytest.mark.parametrize("part", ["config.json", "checkpoints"])
def test_a_run_without_a_part_is_no_folder_of_images(root, tmp_path, part):
    broken = shutil.copytree(root / "gan", tmp_path / "run")
    (broken / part).rename(tmp_path / part)
    _, config = parse(["digits", "--data.extra-dir", str(broken)])
    with pytest.raises(UserError, match=r"is a run whose config.json or checkpoints/ is missing"):
        with_sampled(config.data, no_tracking)


def test_what_a_killed_process_left_and_what_was_moved_is_made_again(root, tmp_path):
    _, config = parse(["digits", "--data.train-per-class", "13", "--data.extra-dir",
                       str(root / "gan"), "--data.cache-dir", str(tmp_path)])  # fmt: skip
    (place,) = map(Path, with_sampled(config.data, no_tracking).extra_dir)
    before = (place / "3" / "00019.png").read_bytes()
    left = tmp_path / f".{place.name}.1-abc"
    left.mkdir()
    (place / "3" / "00019.png").rename(place / "4" / "00019.png")  # as many as before
    assert with_sampled(config.data, no_tracking).extra_dir == (str(place),)
    assert (place / "3" / "00019.png").read_bytes() == before
    assert not (place / "4" / "00019.png").exists()
    assert not left.exists()
