import errno
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxvit.config import PETS, PRESETS, DataConfig, UserError
from jaxvit.data.cache import load_pixels
from jaxvit.data.datasets import Split, describe, find_source, load_dataset
from jaxvit.data.examples import Examples, check_labels
from jaxvit.data.loader import prefetch_to_device, train_batches


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


# Sources.


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


def test_a_grey_level_says_which_label_belongs_to_which_image(folder, tmp_path):
    data = load(folder, tmp_path)
    batch = data.train.take(np.arange(len(data.train)))
    np.testing.assert_array_equal(batch["image"].mean((1, 2, 3)) // 40, batch["label"])


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
def test_a_broken_folder_is_one_clear_line(folder, tmp_path, break_it, message):
    break_it(folder)
    with pytest.raises(UserError, match=message):
        load(folder, tmp_path)
    if message == "3.jpg cannot be read":
        assert not list((tmp_path / "cache").glob("*/pixels.npy"))


def test_hidden_files_and_directories_are_passed_over(folder, tmp_path):
    picture(folder / "ant" / ".ipynb_checkpoints" / "0-checkpoint.jpg", 5)
    picture(folder / "ant" / ".0.jpg", 5)
    (folder / "ant" / "album.jpg").mkdir()
    data = load(folder, tmp_path)
    assert len(data.train) + len(data.val) + len(data.test) == 30


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
    assert not (tmp_path / "cache").exists()  # it is said before anything is decoded


def test_a_folder_of_ones_own_pictures_is_not_taken_for_tfds(folder):
    with pytest.raises(UserError, match="add --data.name folder"):
        find_source(replace(PETS, dir=str(folder)))


def test_a_directory_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(UserError, match="is not a directory"):
        find_source(replace(PETS, dir=str(tmp_path / "nowhere")))


# The cache.


def counting_examples(calls: list, fingerprint="one") -> Examples:
    def pixels(index, img_size):
        calls.append(index)
        return np.full((img_size, img_size, 3), index, np.uint8)

    return Examples(tuple("abcde"), np.zeros(5, np.int32), pixels, fingerprint)


def test_each_image_is_decoded_once_and_mapped_afterwards(tmp_path):
    calls = []
    first = load_pixels(counting_examples(calls), 4, 3, tmp_path).pixels
    second = load_pixels(counting_examples(calls), 4, 3, tmp_path).pixels
    assert sorted(calls) == [0, 1, 2, 3, 4]
    assert isinstance(second, np.memmap)
    assert not second.flags.writeable
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[:, 0, 0, 0], np.arange(5))


def test_another_size_or_source_is_another_cache(tmp_path):
    calls = []
    load_pixels(counting_examples(calls), 4, 3, tmp_path)
    load_pixels(counting_examples(calls), 5, 3, tmp_path)
    load_pixels(counting_examples(calls, "two"), 4, 3, tmp_path)
    assert len(calls) == 15
    assert len(list(tmp_path.glob("*/pixels.npy"))) == 3


def test_a_decoding_that_fails_leaves_nothing_behind(tmp_path):
    def pixels(index, img_size):
        raise UserError("bad image")

    with pytest.raises(UserError, match="bad image"):
        load_pixels(Examples(("a",), np.zeros(1, np.int32), pixels, ""), 4, 3, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a cache was unpickled",))


@pytest.mark.parametrize("file", ["pixels.npy", "unreadable.json"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"rubbish"),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.unlink(),
        lambda path: np.lib.format.open_memmap(path, "w+", np.uint8, (5, 3, 3, 3)),  # too small
        lambda path: path.write_bytes(pickle.dumps(Bomb())),
    ],
)
def test_a_damaged_cache_is_made_anew(tmp_path, file, damage):
    calls = []
    first = np.array(load_pixels(counting_examples(calls), 4, 3, tmp_path).pixels)
    (entry,) = (path for path in tmp_path.iterdir() if path.is_dir())
    damage(entry / file)
    again = load_pixels(counting_examples(calls), 4, 3, tmp_path)
    np.testing.assert_array_equal(again.pixels, first)
    assert len(calls) == 10


def test_what_a_killed_process_left_half_written_is_not_used(tmp_path):
    calls = []
    load_pixels(counting_examples(calls), 4, 3, tmp_path)
    (entry,) = (path for path in tmp_path.iterdir() if path.is_dir())
    entry.rename(entry.with_suffix(".partial"))
    load_pixels(counting_examples(calls), 4, 3, tmp_path)
    assert len(calls) == 10
    assert not entry.with_suffix(".partial").exists()


def test_the_cache_of_another_version_is_not_used(tmp_path, monkeypatch):
    calls = []
    load_pixels(counting_examples(calls), 4, 3, tmp_path)
    monkeypatch.setattr("jaxvit.data.cache.FORMAT", 999)
    load_pixels(counting_examples(calls), 4, 3, tmp_path)
    assert len(calls) == 10


def test_a_cache_is_read_where_nothing_can_be_written(tmp_path, monkeypatch):
    """As root every directory can be written, so the refusal is made here."""
    calls = []
    load_pixels(counting_examples(calls), 4, 3, tmp_path)

    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr("jaxvit.data.cache.FileLock", refuse)
    load_pixels(counting_examples(calls), 4, 3, tmp_path)
    assert len(calls) == 5
    with pytest.raises(UserError, match=r"\(Read-only file system\): choose another place with"):
        load_pixels(counting_examples(calls, "two"), 4, 3, tmp_path)


def test_two_processes_decode_once_between_them(tmp_path):
    calls = []
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: load_pixels(counting_examples(calls), 4, 3, tmp_path), range(2)))
    assert len(calls) == 5


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot be written .*: choose another place with"):
        load_pixels(counting_examples([]), 4, 3, tmp_path / "file" / "cache")


def test_a_changed_file_is_decoded_again(folder, tmp_path):
    before = load(folder, tmp_path).train.pixels.mean()
    picture(folder / "ant" / "0.jpg", 250, size=(30, 30))
    assert load(folder, tmp_path).train.pixels.mean() > before


# The loader.


def numbered(size: int) -> Split:
    pixels = np.arange(size, dtype=np.uint8)[:, None, None, None]
    rows = np.arange(size)
    return Split(pixels, rows, rows.astype(np.int32), tuple(map(str, rows)))


def stream(split, steps, **options):
    batches = train_batches(split, 4, seed=5, **options)
    return np.array([next(batches)["label"] for _ in range(steps)])


def test_every_example_is_seen_once_an_epoch_and_orders_differ():
    seen = stream(numbered(10), 10).ravel().reshape(4, 10)
    np.testing.assert_array_equal(np.sort(seen, axis=1), np.tile(np.arange(10), (4, 1)))
    assert len({tuple(epoch) for epoch in seen}) == 4


def test_images_and_labels_stay_together():
    batches = train_batches(numbered(10), 4, seed=0)
    for _ in range(5):
        batch = next(batches)
        np.testing.assert_array_equal(batch["image"].ravel(), batch["label"])


def test_a_stream_can_start_anywhere():
    np.testing.assert_array_equal(
        stream(numbered(10), 6, start_step=3), stream(numbered(10), 9)[3:]
    )


def test_processes_share_each_batch_between_them():
    whole = stream(numbered(10), 6)
    shares = [stream(numbered(10), 6, own=slice(2 * i, 2 * i + 2)) for i in range(2)]
    np.testing.assert_array_equal(np.concatenate(shares, axis=1), whole)


def test_prefetching_keeps_the_order_and_places_ahead():
    placed = []

    def place(batch):
        placed.append(batch)
        return batch

    ahead = prefetch_to_device(iter(range(6)), place, 2)
    assert next(ahead) == 0
    assert placed == [0, 1, 2]
    assert list(ahead) == [1, 2, 3, 4, 5]


def test_the_split_is_written_down(tmp_path):
    data = load_dataset(replace(PRESETS["digits"].data, cache_dir=str(tmp_path)), 8, 1)
    written = describe(data)
    assert list(written["val"]) == list(data.val.names)
    assert len(written["train"]) + len(written["val"]) + len(written["test"]) == 1797


@pytest.mark.parametrize("name", ["valid", "Val", "TEST"])
def test_a_folder_that_looks_like_a_split_is_refused(folder, tmp_path, name):
    root = tmp_path / "split"
    shutil.copytree(folder, root / "train")
    shutil.copytree(folder, root / name)
    with pytest.raises(UserError, match=f"has a folder {name}/ beside train/: call it val/"):
        load(root, tmp_path)
