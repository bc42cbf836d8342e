"""Where images come from: folders, Pets and digits, their splits, and what is refused."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from jaxvit.command_line import parse
from jaxvit.config import DataConfig
from jaxvit.data import datasets, oxford_iiit_pet
from jaxvit.data.datasets import find_source, load_dataset
from jaxvit.data.decoded import describe
from jaxvit.data.examples import Examples, Source, check_labels
from jaxvit.data.folder import load_folder
from jaxvit.data.preprocessing import Geometry
from jaxvit.data.splits import keep_per_class
from jaxvit.errors import UserError
from jaxvit.presets import PRESETS
from jaxvit.presets.lab import PETS


def picture(path: Path, level: int, size=(20, 14)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path)


@pytest.fixture
def folder(tmp_path) -> Path:
    root = tmp_path / "images"
    for label, name in enumerate(("ant", "bee", "cat")):
        for number in range(10):
            picture(root / name / f"{number}.jpg", 40 * label + number)
    return root


def load(root, tmp_path, **options):
    config = DataConfig(name="folder", dir=str(root), cache_dir=str(tmp_path / "cache"), **options)
    return load_dataset(config, img_size=8, channels=3)


def test_a_folder_is_split_by_class_and_no_image_is_in_two_splits(folder, tmp_path):
    data = load(folder, tmp_path, val_fraction=0.2)
    assert data.class_names == ("ant", "bee", "cat")
    names = [set(split.names) for split in (data.train, data.val, data.test)]
    assert sum(map(len, names)) == len(set.union(*names)) == 30
    for split in (data.train, data.val, data.test):
        assert set(np.unique(split.labels)) == {0, 1, 2}
    again = load(folder, tmp_path, val_fraction=0.2)
    assert again.train.names == data.train.names
    other = load(folder, tmp_path, val_fraction=0.2, split_seed=1)
    assert other.train.names != data.train.names
    assert other.test.names == data.test.names  # the test split is the same in every run


def test_a_folders_own_splits_are_kept(folder, tmp_path):
    root = tmp_path / "split"
    for split in ("train", "val", "test"):
        shutil.copytree(folder, root / split)
    data = load(root, tmp_path)
    assert len(data.train) == len(data.val) == len(data.test) == 30


def test_every_image_of_a_folder_has_the_label_of_its_class(folder, tmp_path):
    data = load(folder, tmp_path)
    batch = data.train.take(np.arange(len(data.train)))
    np.testing.assert_array_equal(batch["image"].mean((1, 2, 3)) // 40, batch["label"])


def test_a_split_may_lack_a_class_and_keeps_the_labels_of_training(folder, tmp_path):
    root = tmp_path / "split"
    for split in ("train", "val", "test"):
        shutil.copytree(folder, root / split)
    shutil.rmtree(root / "val" / "ant")
    shutil.rmtree(root / "test" / "bee")
    data = load(root, tmp_path)
    assert set(data.val.labels) == {1, 2}
    assert set(data.test.labels) == {0, 2}
    for split in (data.val, data.test):
        batch = split.take(np.arange(len(split)))
        np.testing.assert_array_equal(batch["image"].mean((1, 2, 3)) // 40, batch["label"])


def test_files_come_in_the_order_of_their_names(folder, monkeypatch):
    walk = os.walk

    def backwards(*args, **options):
        for directory, folders, files in walk(*args, **options):
            yield directory, folders, sorted(files, reverse=True)

    monkeypatch.setattr(os, "walk", backwards)
    names = find_source(DataConfig(name="folder", dir=str(folder))).splits["train"].names
    assert list(names) == sorted(names)


def test_a_file_edited_without_a_change_of_size_is_decoded_again(folder, tmp_path):
    path = folder / "cat" / "last.bmp"  # its size does not depend on its pixels
    picture(path, 100)
    before, stat = load(folder, tmp_path), path.stat()
    picture(path, 200)
    assert path.stat().st_size == stat.st_size
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert describe(load(folder, tmp_path)) != describe(before)


def half_white() -> tuple[np.ndarray, Image.Exif]:
    """An image whose left half is white, and EXIF by which that half is shown on top."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # shown rotated clockwise by 90 degrees
    return pixels, exif


def test_exif_rotates_photos_of_a_folder_by_default_and_those_of_pets_on_request(
    tmp_path, pets_like
):
    pixels, exif = half_white()
    for name in ("ant", "bee"):
        for number in range(4):
            path = tmp_path / "images" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, exif=exif)
    upright = np.rot90(pixels, -1)
    for exif_option, expected in (
        (None, upright),
        (True, upright),
        (False, pixels),
        (True, upright),
    ):
        data = load(tmp_path / "images", tmp_path, exif=exif_option)  # one cache for all
        np.testing.assert_array_equal(data.train.take(np.arange(1))["image"][0], expected)
    for exif_option, expected in ((None, pixels), (True, upright)):
        config = replace(PETS, dir=str(pets_like), exif=exif_option)
        found = find_source(config).splits["train"].pixels(0, Geometry(8))
        assert (np.abs(found.astype(int) - expected) < 30).all()


@pytest.fixture
def pets_like(tmp_path) -> Path:
    """The original layout with one image that is stored rotated."""
    root = make_pets(tmp_path / "pets")
    pixels, exif = half_white()
    Image.fromarray(pixels).save(root / "images" / "Abyssinian_0.jpg", exif=exif, quality=100)
    return root


def test_images_of_other_formats_are_counted_by_suffix(folder, tmp_path):
    for name in ("a.heic", "b.HEIC", "c.tiff", "notes.txt"):
        (folder / "bee" / name).write_bytes(b"x")
    data = load(folder, tmp_path)
    assert dict(data.passed_over) == {".heic": 2, ".tiff": 1}
    assert len(data.train) + len(data.val) + len(data.test) == 30


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: shutil.rmtree(root), "is not a directory"),
        (lambda root: [shutil.rmtree(root / n) for n in ("ant", "bee")], "1 class folder"),
        (lambda root: [p.unlink() for p in (root / "bee").iterdir()], "bee has no image"),
        (lambda root: (root / "bee").rename(root / "test"), "has a folder test/ but none called"),
        (lambda root: (root / "cat/3.jpg").write_text("not a picture"), "3.jpg cannot be read"),
        (lambda root: (root / "cat/3.jpg").write_bytes(b""), "3.jpg cannot be read"),
    ],
)
def test_a_broken_folder_is_refused_with_the_reason(folder, tmp_path, break_it, message):
    break_it(folder)
    with pytest.raises(UserError, match=message):
        load(folder, tmp_path)
    if message == "3.jpg cannot be read":
        assert not list((tmp_path / "cache").glob("*/pixels.npy"))


def test_hidden_files_and_directories_are_ignored(folder, tmp_path):
    picture(folder / "ant" / ".ipynb_checkpoints" / "0-checkpoint.jpg", 5)
    picture(folder / "ant" / ".0.jpg", 5)
    (folder / "ant" / "album.jpg").mkdir()
    picture(folder / ".thumbnails" / "0.jpg", 5)
    data = load(folder, tmp_path)
    assert len(data.train) + len(data.val) + len(data.test) == 30
    assert data.class_names == ("ant", "bee", "cat")


def test_a_class_that_training_lacks_is_refused(folder, tmp_path):
    root = tmp_path / "split"
    shutil.copytree(folder, root / "train")
    picture(root / "test" / "dog" / "0.jpg", 5)
    picture(root / "test" / "ant" / "0.jpg", 5)
    with pytest.raises(UserError, match="has a class 'dog' that"):
        load(root, tmp_path)


def test_a_label_out_of_range_is_named():
    examples = Examples(("a", "b"), np.array([0, 37], np.int32), lambda i, s: None, "")
    with pytest.raises(UserError, match="label 37 of b is out of range: there are 37 classes"):
        check_labels(examples, [str(k) for k in range(37)])


def make_pets(root: Path, test_lines=("Great_Pyrenees_3 2 2 1",)) -> Path:
    lines = {
        "trainval": [f"Abyssinian_{n} 1 1 1" for n in range(4)]
        + [f"great_pyrenees_{n} 2 2 1" for n in range(4)],
        "test": list(test_lines),
    }
    for split, rows in lines.items():
        for row in rows:
            picture(root / "images" / f"{row.split()[0]}.jpg", 100)
        path = root / "annotations" / f"{split}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("# comment\n" + "\n".join(rows) + "\n")
    return root


def test_pets_original_layout_is_found_in_both_places(tmp_path):
    make_pets(tmp_path / "oxford-iiit-pet")
    for directory in (tmp_path, tmp_path / "oxford-iiit-pet"):
        source = find_source(replace(PETS, dir=str(directory)))
        assert source.class_names == ("Abyssinian", "Great Pyrenees")
        assert len(source.splits["train"].labels) == 8
        assert source.splits["test"].names == ("images/Great_Pyrenees_3.jpg",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Birman_1 99 1 1", "line 2: 'Birman_1 99 1 1' is not"),
        ("Birman_1", "line 2: 'Birman_1' is not"),
        ("Birman_1 5 1 1", "has 2 classes, and it needs at least 2 and every class of test"),
        ("Abyssinian_1 1 1 1", "lists images/Abyssinian_1.jpg more than once"),
        ("../x_1 1 1 1", "line 2: '../x_1 1 1 1' is not"),
    ],
)
def test_a_wrong_line_in_the_annotations_is_named(tmp_path, line, message):
    root = make_pets(tmp_path, test_lines=[line])
    with pytest.raises(UserError, match=message):
        find_source(replace(PETS, dir=str(root)))


def test_a_listed_image_that_is_missing_is_named(tmp_path):
    root = make_pets(tmp_path)
    (root / "images" / "Abyssinian_2.jpg").unlink()
    config = replace(PETS, dir=str(root), cache_dir=str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"Abyssinian_2\.jpg is listed but cannot be read"):
        load_dataset(config, 8, 3)
    assert not (tmp_path / "cache").exists()  # refused before anything is decoded


def test_a_folder_of_images_given_as_pets_is_refused_with_the_option_to_add(folder):
    with pytest.raises(UserError, match="add --data.name folder"):
        find_source(replace(PETS, dir=str(folder)))


def test_a_missing_directory_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a directory"):
        find_source(replace(PETS, dir=str(tmp_path / "nowhere")))


def test_a_changed_file_is_decoded_again(folder, tmp_path):
    before = load(folder, tmp_path).train.pixels.mean()
    picture(folder / "ant" / "0.jpg", 250, size=(30, 30))
    assert load(folder, tmp_path).train.pixels.mean() > before


def test_describe_lists_every_example_of_every_split(tmp_path):
    data = load_dataset(replace(PRESETS["digits"].data, cache_dir=str(tmp_path)), 8, 1)
    written = describe(data)
    assert list(written["val"]) == list(data.val.names)
    assert len(written["train"]) + len(written["val"]) + len(written["test"]) == 1797


@pytest.mark.parametrize("name", ["valid", "Val", "TEST", "validation", "training", "testing"])
def test_a_folder_that_looks_like_a_split_is_refused(folder, tmp_path, name):
    root = tmp_path / "split"
    shutil.copytree(folder, root / "train")
    shutil.copytree(folder, root / name)
    with pytest.raises(UserError, match=f"has a folder {name}/ beside train/: call it val/"):
        load(root, tmp_path)


def test_the_number_of_threads_reaches_the_decoder(folder, tmp_path, monkeypatch):
    seen, load_pixels = [], datasets.load_pixels

    def noted(*args):
        seen.append(args[4])
        return load_pixels(*args)

    monkeypatch.setattr(datasets, "load_pixels", noted)
    load(folder, tmp_path, decode_threads=3)
    assert seen == [3]


def test_the_asked_share_of_each_class_is_held_out_for_validation(folder, tmp_path):
    for fraction, held_out in ((0.25, 2), (0.5, 4)):  # of the 8 that the test leaves
        data = load(folder, tmp_path, val_fraction=fraction)
        assert np.bincount(data.val.labels).tolist() == [held_out] * 3


def test_suffixes_are_recognised_in_any_case(folder):
    for number, name in enumerate(("0.JPG", "1.Jpeg")):
        (folder / "ant" / f"{number}.jpg").rename(folder / "ant" / name)
    names = find_source(DataConfig(name="folder", dir=str(folder))).splits["train"].names
    assert {"ant/0.JPG", "ant/1.Jpeg"} <= set(names)
    assert len(names) == 30


def test_the_labels_of_every_source_are_checked(monkeypatch):
    source = find_source(PRESETS["digits"].data)
    wrong = source._replace(class_names=source.class_names[:9])
    monkeypatch.setattr(datasets, "load_digits", lambda: wrong)
    with pytest.raises(UserError, match="label 9 of digits/.* is out of range"):
        find_source(PRESETS["digits"].data)


def test_images_of_a_class_are_chosen_by_the_seed_of_the_split():
    chosen = {}
    for seed in ("0", "1"):
        given = ["digits", "--data.train-per-class", "3", "--data.split-seed", seed]
        whole, few = (load_dataset(parse(args)[1].data, 8, 1) for args in (
            ["digits", "--data.split-seed", seed], given))  # fmt: skip
        assert set(few.train.names) < set(whole.train.names)
        assert few.val.names == whole.val.names
        assert np.bincount(few.train.labels).tolist() == [3] * 10
        pixels = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
        for row, name in enumerate(few.train.names):
            image = few.train.images(np.array([row]))[0, ..., 0]
            np.testing.assert_array_equal(image, pixels[int(name.partition("/")[2])])
        chosen[seed] = few.train.names
    assert set(chosen["0"]) != set(chosen["1"])
    # Of the same images, too, and whatever their order is.
    labels, names = np.arange(40) % 3, [f"{i:02d}" for i in range(40)]
    few = [keep_per_class(labels, names, 3, seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(few[0], few[1])
    assert few[0].tolist() != few[2].tolist()
    turned = keep_per_class(labels[::-1], names[::-1], 3, 0)
    np.testing.assert_array_equal(sorted(39 - turned), few[0])


def test_images_are_resized_cropped_and_filtered_as_asked(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (14, 20, 3), np.uint8)
    image, cubic = Image.fromarray(pixels), Image.Resampling.BICUBIC
    for name in ("ant", "bee"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(4):
            image.save(tmp_path / "images" / name / f"{number}.png")
    data = load(
        tmp_path / "images", tmp_path, resize="short_side", crop_share=0.5,
        interpolation="bicubic", stored_scale=2.0,
    )  # fmt: skip
    scored = np.asarray(image.resize((22, 16), cubic).crop((7, 4, 15, 12)))
    np.testing.assert_array_equal(data.val.images(np.array([0]))[0], scored)
    stored = np.asarray(image.resize((16, 16), cubic))
    np.testing.assert_array_equal(data.train.images(np.array([0]))[0], stored)


def test_of_the_same_training_images_another_seed_chooses_others(folder, tmp_path):
    for split in ("train", "val", "test"):
        shutil.copytree(folder, tmp_path / "split" / split)
    first, same, other = (
        load(tmp_path / "split", tmp_path, train_per_class=3, split_seed=seed).train.names
        for seed in (0, 0, 1)
    )
    assert first == same != other


def test_every_format_that_is_promised_is_found(tmp_path):
    for name in ("ant", "bee"):
        for suffix in (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".PNG"):
            picture(tmp_path / name / f"x{suffix}", 9)
    assert len(load_folder(tmp_path).splits["train"].names) == 14


def test_photos_without_labels_are_turned_upright_too(tmp_path):
    pixels, exif = half_white()
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    for upright, expected in ((True, np.rot90(pixels, -1)), (False, pixels)):
        found = load_folder(tmp_path, upright, labelled=False).splits["train"]
        np.testing.assert_array_equal(found.pixels(0, Geometry(8)), expected)


def test_a_folder_without_a_test_split_holds_out_15_of_100():
    labels = np.repeat(np.arange(2, dtype=np.int32), 100)
    examples = Examples(tuple(map(str, range(200))), labels, lambda index, geometry: None, "")
    config = DataConfig(name="folder", dir="x", val_fraction=0.2)
    found = datasets.split_source(Source(("a", "b"), {"train": examples}), config)
    sizes = {name: len(rows) for name, (_, rows) in found.items()}
    assert sizes == {"train": 136, "val": 34, "test": 30}


@pytest.mark.parametrize("name", ["oxford_iiit_pet", "flowers17"])
def test_exif_reaches_the_source_that_is_configured(name, tmp_path, monkeypatch):
    given = []

    def load(directory, *more):
        given.append(more[-1])
        raise UserError("far enough")

    monkeypatch.setattr(datasets, f"load_{name}", load)
    for exif in (None, True, False):
        with pytest.raises(UserError, match="far enough"):
            find_source(DataConfig(name=name, dir=str(tmp_path), exif=exif))
    assert given == [False, True, False]


def test_exif_reaches_tfds(tmp_path, monkeypatch):
    given = []

    def load(name, place, upright, **_):
        given.append(upright)
        return Source(("a", "b"), {})

    monkeypatch.setattr(oxford_iiit_pet, "load_tfds", load)
    for upright in (True, False):
        oxford_iiit_pet.load_oxford_iiit_pet(tmp_path, upright)
    assert given == [True, False]
