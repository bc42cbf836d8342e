"""The photos, their numbers, classes and split, in both programs; and the blog's data set."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from jaxvit.config import DataConfig
from jaxvit.data.datasets import find_source, split_source
from jaxvit.data.flowers17 import CLASSES as OURS
from jaxvit.data.preprocessing import Geometry
from torch_ref.instance_discrimination.flowers17 import CLASSES, PER_CLASS, Flowers17, split_rows
from torch_ref.instance_discrimination.views import MEAN, STD, Views, blog_augmentation


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """1,360 files; the first ten of each class are photos of unequal sizes."""
    folder = tmp_path_factory.mktemp("flowers") / "jpg"
    folder.mkdir()
    names = [f"image_{number:04d}.jpg" for number in range(1, 1361)]
    (folder / "files.txt").write_text("\n".join(names) + "\n")
    rng = np.random.default_rng(0)
    for number, name in enumerate(names):
        size = (10 + number % 3, 9)
        image = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), np.uint8))
        image.save(folder / name, quality=95)
    return folder.parent


@pytest.mark.parametrize("seed", [0, 3])
def test_the_split_is_the_same_in_both(root, seed):
    config = DataConfig(name="flowers17", dir=str(root), split_seed=seed)
    source = find_source(config)
    ours = {
        name: [source.splits[origin].names[row] for row in rows]
        for name, (origin, rows) in split_source(source, config).items()
    }
    listed = (root / "jpg" / "files.txt").read_text().split()
    for name, rows in zip(("train", "val", "test"), split_rows(root, 0.1, seed), strict=True):
        assert ours[name] == [f"jpg/{listed[row]}" for row in rows], name
        assert np.array_equal(np.unique(rows // PER_CLASS), np.arange(17))
    assert len(ours["test"]) == 136
    assert len(ours["train"]) + len(ours["val"]) == 1224


def test_photos_and_classes_are_the_same_in_both(root):
    assert CLASSES == OURS
    train, _, _ = split_rows(root, 0.1, 0)
    theirs = Flowers17(root, np.asarray, 8, train)
    config = DataConfig(name="flowers17", dir=str(root))
    source = find_source(config)
    _, rows = split_source(source, config)["train"]
    examples = source.splits["train"]
    for index in (0, 100, len(theirs) - 1):
        pixels, number, label = theirs[index]
        assert number == index
        assert label == examples.labels[rows[index]]
        assert np.array_equal(pixels, examples.pixels(int(rows[index]), Geometry(8)))


def test_the_blogs_labels_are_the_index_itself(root):
    """Defect 6: floor(idx + 1 / 17); floor(idx / 80) is meant."""
    index = np.arange(1360)
    blogs = np.floor(index + 1 / 17).astype(int)
    assert np.array_equal(blogs, index)
    labels = Flowers17(root, np.asarray, 8).labels
    assert np.array_equal(np.bincount(labels), [80] * 17)
    assert [CLASSES[labels[row]] for row in (0, 79, 80, 1359)] == [
        "Daffodil", "Daffodil", "Snowdrop", "Pansy"
    ]  # fmt: skip


def test_the_blogs_length_is_a_number_of_characters(root):
    """Defect 7: the list is read as one string."""
    blogs = (root / "jpg" / "files.txt").read_text()
    assert len(blogs) == 1360 * len("image_0001.jpg\n")
    assert len(Flowers17(root, np.asarray, 8)) == 1360


def test_the_blogs_photos_cannot_be_batched(root):
    """Defect 9: they are never resized."""
    with pytest.raises(RuntimeError, match="equal size"):
        torch.stack([
            transforms.ToTensor()(Image.open(root / "jpg" / f"image_000{n}.jpg")) for n in (1, 2)
        ])  # fmt: skip
    fixed = Flowers17(root, transforms.ToTensor(), 8)
    assert torch.stack([fixed[n][0] for n in range(3)]).shape == (3, 3, 8, 8)


def test_the_blogs_pixels_go_to_255(root):
    """Defect 10: never normalised."""
    photo = Image.open(root / "jpg" / "image_0001.jpg")
    assert transforms.PILToTensor()(photo).max() > 200
    view = blog_augmentation(0.0, (0.0, 0.0, 0.0, 0.0))(photo)
    expected = (transforms.ToTensor()(photo) - torch.tensor(MEAN)[:, None, None]) / torch.tensor(
        STD
    )[:, None, None]
    torch.testing.assert_close(view, expected)


def test_the_blogs_colour_jitter_does_nothing_and_its_batch_shares_an_angle(root):
    """Defect 8."""
    torch.manual_seed(0)
    photos = torch.rand(4, 3, 8, 8)
    assert torch.equal(transforms.ColorJitter()(photos), photos)
    same = photos[:1].repeat(4, 1, 1, 1)
    blogs = transforms.RandomRotation(35)(same)
    assert all(torch.equal(blogs[0], each) for each in blogs)
    photo = Image.open(root / "jpg" / "image_0001.jpg")
    a, b = Views(blog_augmentation())(photo)
    assert (a - b).abs().max() > 0.1


def test_the_blogs_data_parallel_splits_the_negatives():
    """Defect 9: the loss of halves is not that of the batch."""
    from torch_ref.instance_discrimination.contrastive import contrastive_loss

    torch.manual_seed(0)
    a, b, index = torch.randn(8, 5), torch.randn(8, 5), torch.arange(8)
    halves = [contrastive_loss(a[part], b[part], index[part]).mean()
              for part in (slice(4), slice(4, 8))]  # fmt: skip
    assert sum(halves) / 2 < contrastive_loss(a, b, index).mean() - 0.3
