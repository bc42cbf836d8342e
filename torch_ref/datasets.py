"""Digits and Oxford-IIIT Pet, with the same stratified splits as in jaxvit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.utils.data import Dataset, Subset
from torchvision import transforms
from torchvision.datasets import OxfordIIITPet

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
DIGITS_MEAN, DIGITS_STD = [0.305], [0.376]
DIGITS_TEST_FRACTION, DIGITS_VAL_FRACTION = 0.2, 0.15
PETS_VAL_FRACTION = 0.1


class DataError(ValueError):
    """The data set is not in the given directory and cannot be downloaded."""


def stratified_split(
    labels: np.ndarray, names: Sequence[str], fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the examples kept and of those held out, both in ascending order.

    Of a class with n examples, round(fraction n) are held out, but at least one and at most n - 1.
    Examples are sorted by name before they are drawn, so the split does not depend on their order.
    jaxvit.data.splits makes the same split.

    Args:
        labels: class indices, (N,).
        names: N different names.
        fraction: in (0, 1).
        seed: of numpy.random.default_rng.
    """
    rng = np.random.default_rng(seed)
    by_name = np.argsort(np.asarray(names), kind="stable")
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = by_name[labels[by_name] == label]
        size = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        held_out[rng.permutation(rows)[:size]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


class Digits(Dataset):
    """scikit-learn's 1,797 digits of 8 x 8 pixels, with one channel.

    Args:
        transform: from a PIL image to a tensor.
    """

    def __init__(self, transform):
        from PIL import Image

        digits = load_digits()
        pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
        self.images = [Image.fromarray(image) for image in pixels]
        self.labels = digits.target
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), int(self.labels[index])


def make_transform(
    img_size: int, mean: list[float], std: list[float], normalized: bool, augmentation=None
):
    """torchvision's Resize, ToTensor and, if `normalized`, Normalize: x' = (x - mean) / std.

    Args:
        img_size: height and width after resizing, in pixels.
        mean, std: one value per channel, for pixels in [0, 1].
        normalized: whether to normalise; otherwise pixels stay in [0, 1].
        augmentation: takes the place of ToTensor: see torch_ref.augmentation.make_augmentation.
    """
    steps = [transforms.Resize((img_size, img_size)), augmentation or transforms.ToTensor()]
    if normalized:
        steps.append(transforms.Normalize(mean=mean, std=std))
    return transforms.Compose(steps)


def get_datasets(
    name: str,
    root: str | Path | None = None,
    *,
    img_size: int = 224,
    val_fraction: float | None = None,
    split_seed: int = 0,
    normalized: bool = True,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    augmentation=None,
) -> tuple[Dataset, Dataset, Dataset, list[str]]:
    """Training, validation and test sets, and the class names.

    Args:
        name: "digits" or "pets".
        root: for pets, the directory that contains oxford-iiit-pet/, or into which it is
            downloaded if it is missing; default "data".
        img_size: height and width after resizing, in pixels.
        val_fraction: fraction in (0, 1) of each class of trainval that is used for validation;
            None is .15 for digits and .1 for pets, as in jaxvit's presets.
        split_seed: seed of the training/validation split; equal seeds give the same split in
            jaxvit.
        normalized: whether images are normalised; otherwise they stay in [0, 1].
        mean, std: for each channel, of pixels in [0, 1]; None is the data set's own.
        augmentation: of training images only: see make_transform.

    Returns:
        Three data sets of (image (C, img_size, img_size), class index), and the class names.

    Raises:
        DataError: Oxford-IIIT Pet is missing or incomplete, and cannot be downloaded.
    """
    small = name == "digits"
    mean = mean or (DIGITS_MEAN if small else IMAGENET_MEAN)
    std = std or (DIGITS_STD if small else IMAGENET_STD)
    plain = make_transform(img_size, mean, std, normalized)
    augmented = make_transform(img_size, mean, std, normalized, augmentation)
    if small:
        everything = Digits(plain)
        labels, names = everything.labels, [f"{n:04d}" for n in range(len(everything))]
        trainval_rows, test_rows = stratified_split(labels, names, DIGITS_TEST_FRACTION, 0)
        train, val = stratified_split(
            labels[trainval_rows],
            [names[row] for row in trainval_rows],
            val_fraction or DIGITS_VAL_FRACTION,
            split_seed,
        )
        trainval = Subset(everything, trainval_rows)
        trained = Subset(Digits(augmented), trainval_rows)
        test = Subset(everything, test_rows)
        class_names = [str(digit) for digit in range(10)]
    else:
        root = "data" if root is None else str(root)
        try:
            present = (Path(root) / "oxford-iiit-pet").is_dir()
            trainval = OxfordIIITPet(root, "trainval", transform=plain, download=not present)
            trained = OxfordIIITPet(root, "trainval", transform=augmented)
            test = OxfordIIITPet(root, "test", transform=plain)
        except (RuntimeError, OSError) as error:
            raise DataError(
                f"no Oxford-IIIT Pet under {root}/oxford-iiit-pet, and it cannot be downloaded "
                f"({error}): give the directory that contains oxford-iiit-pet/"
            ) from error
        names = [path.name for path in trainval._images]
        labels = np.array(trainval._labels)
        train, val = stratified_split(labels, names, val_fraction or PETS_VAL_FRACTION, split_seed)
        class_names = trainval.classes
    return Subset(trained, train), Subset(trainval, val), test, class_names
