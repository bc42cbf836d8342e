"""Both frameworks read the same pixels, byte for byte, and make the same splits."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from jaxvit.data.datasets import load_dataset
from jaxvit.data.images import decode_image
from jaxvit.data.preprocessing import Geometry
from jaxvit.data.splits import stratified_split
from jaxvit.presets import PRESETS
from jaxvit.presets.lab import PETS
from torch_ref import datasets as torch_datasets


def as_bytes(tensor) -> np.ndarray:
    """A ToTensor image (C, H, W) in [0, 1] back to uint8 (H, W, C); exact."""
    return (tensor * 255).round().byte().permute(1, 2, 0).numpy()


def assert_same(ours, theirs, indices):
    for index in indices:
        pixels, label = theirs[index]
        batch = ours.take(np.array([index]))
        assert batch["label"][0] == label
        np.testing.assert_array_equal(batch["image"][0], as_bytes(pixels))


def test_digits_have_the_same_examples_in_the_same_splits(tmp_path):
    data = replace(PRESETS["digits"].data, cache_dir=str(tmp_path))
    ours = load_dataset(data, img_size=8, channels=1)
    *theirs, class_names = torch_datasets.get_datasets("digits", img_size=8, normalized=False)
    assert list(ours.class_names) == class_names
    for mine, other in zip((ours.train, ours.val, ours.test), theirs, strict=True):
        assert len(mine) == len(other)
        assert_same(mine, other, range(0, len(mine), 7))


@pytest.mark.slow
def test_pets_have_the_same_examples_in_the_same_splits(tmp_path, pets_root):
    data = replace(PETS, dir=str(pets_root), cache_dir=str(tmp_path), split_seed=3)
    ours = load_dataset(data, img_size=96, channels=3)
    *theirs, class_names = torch_datasets.get_datasets(
        "pets", pets_root, img_size=96, split_seed=3, normalized=False
    )
    assert list(ours.class_names) == class_names
    for mine, other in zip((ours.train, ours.val, ours.test), theirs, strict=True):
        assert len(mine) == len(other)
        assert_same(mine, other, range(0, len(mine), 40))


@pytest.mark.parametrize("size", [(37, 90), (300, 41), (64, 64), (5, 5)])
@pytest.mark.parametrize("encoding", ["JPEG", "PNG"])
def test_resized_pixels_equal_torchvisions_byte_for_byte(tmp_path, size, encoding):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    path = tmp_path / "image"
    Image.fromarray(pixels).save(path, encoding)
    transform = torch_datasets.make_transform(64, [0.0], [1.0], normalized=False)
    expected = as_bytes(transform(Image.open(path).convert("RGB")))
    np.testing.assert_array_equal(decode_image(path.read_bytes(), Geometry(64), "image"), expected)


def test_splits_equal_torchs_and_do_not_depend_on_the_order_of_examples():
    rng = np.random.default_rng(0)
    for seed in range(5):
        labels = rng.integers(0, 9, 100 + seed)
        labels[0] = 99  # a class with one example, which stays in training
        names = [f"{n:03d}" for n in rng.permutation(len(labels))]
        ours = stratified_split(labels, names, 0.15, seed)
        theirs = torch_datasets.stratified_split(labels, names, 0.15, seed)
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine, other)
        train, val = ours
        backwards = stratified_split(labels[::-1], names[::-1], 0.15, seed)[1]
        assert {names[row] for row in val} == {names[::-1][row] for row in backwards}
        assert 0 in train
        np.testing.assert_array_equal(np.sort(np.concatenate(ours)), np.arange(len(labels)))
        for label in range(9):
            assert (labels[val] == label).sum() == round(0.15 * (labels == label).sum())


def test_missing_pets_raise_an_error_that_names_the_directory(tmp_path):
    (tmp_path / "oxford-iiit-pet").mkdir()
    with pytest.raises(torch_datasets.DataError, match="no Oxford-IIIT Pet under"):
        torch_datasets.get_datasets("pets", tmp_path)
