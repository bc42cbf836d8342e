"""The configured data set as three splits, decoded and ready to batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from jaxvit.config import DataConfig
from jaxvit.data.cache import Track, load_pixels, no_tracking
from jaxvit.data.cifar10 import load_cifar10
from jaxvit.data.digits import load_digits
from jaxvit.data.examples import Source, check_labels
from jaxvit.data.flowers17 import load_flowers17
from jaxvit.data.folder import load_folder, load_images_of
from jaxvit.data.oxford_iiit_pet import load_oxford_iiit_pet
from jaxvit.data.preprocessing import Geometry
from jaxvit.data.splits import stratified_split
from jaxvit.errors import UserError
from jaxvit.paths import user_path

# Share of each class held out for the test where a source has no test split; the same in every run.
TEST_FRACTION = 0.15
SPLITS = ("train", "val", "test")
EXTRA = "extra/"  # how the names of generated images begin
NO_CHECKSUMS = np.empty(0, np.uint32)


@dataclass(frozen=True)
class Stacked:
    """Images of two arrays, one behind the other, uint8 (M, H, W, C) each."""

    first: "np.ndarray | Stacked"
    second: np.ndarray

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        later = rows >= len(self.first)
        found = self.first[np.where(later, 0, rows)]
        found[later] = self.second[rows[later] - len(self.first)]
        return found


@dataclass(frozen=True)
class Split:
    """Decoded examples: some rows of a memory-mapped array, which splits may share."""

    pixels: np.ndarray | Stacked  # uint8 (M, H, W, C)
    rows: np.ndarray  # (N,), indices into pixels
    labels: np.ndarray  # int32 (N,)
    names: tuple[str, ...]
    # (N,), of each example's pixels; or empty
    crc32: np.ndarray = field(default_factory=NO_CHECKSUMS.copy)
    features: np.ndarray | None = None  # float32 (N, F), which batches then hold for the images

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: np.ndarray, with_index: bool = False) -> dict[str, np.ndarray]:
        """A batch on the host: {"image": uint8 (B, H, W, C), "label": int32 (B,)}.

        A split with features gives "features", float32 (B, F), instead of "image".

        Args:
          indices: (B,), positions in this split, from 0.
          with_index: whether the batch also holds them, as "index", int32 (B,).
        """
        batch = {"label": self.labels[indices]}
        if self.features is None:
            batch["image"] = self.images(indices)
        else:
            batch["features"] = self.features[indices]
        return batch | {"index": np.asarray(indices, np.int32)} if with_index else batch

    def images(self, indices: np.ndarray) -> np.ndarray:
        """The pixels of examples, uint8 (B, H, W, C)."""
        return self.pixels[self.rows[indices]]


class Dataset(NamedTuple):
    """Three splits that share no example, and the names of the K classes.

    Attributes:
      class_names: in the order of the labels.
      train, val, test: the splits.
      skipped: for each image that was left out, one line that says why it cannot be read.
      passed_over: suffix -> number of files with it, such as ".heic": image formats that are not
        decoded here.
      extra: training images, the last ones, that are of config.extra_dir.
    """

    class_names: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    skipped: tuple[str, ...] = ()
    passed_over: Mapping[str, int] = MappingProxyType({})
    extra: int = 0


def scoring_geometry(config: DataConfig, img_size: int) -> Geometry:
    """How images are resized and cropped that are scored or predicted."""
    return Geometry(img_size, config.resize, config.crop_share, config.interpolation)


def training_geometry(config: DataConfig, img_size: int) -> Geometry:
    """The same for images that are trained on: larger ones where config.stored_scale says so."""
    if config.stored_scale == 1:
        return scoring_geometry(config, img_size)
    return Geometry(round(config.stored_scale * img_size), "squash", 1.0, config.interpolation)


def load_dataset(
    config: DataConfig, img_size: int, channels: int, track: Track = no_tracking
) -> Dataset:
    """Finds, splits and decodes the configured data set.

    Splits that the source defines are used as they are. A missing test split takes TEST_FRACTION
    of each class of the training split; a missing validation split then takes config.val_fraction
    of what remains. With config.on_error "skip", unreadable images are left out after splitting.

    Args:
      config: see DataConfig.
      img_size: of the model, in pixels; see scoring_geometry and training_geometry.
      channels: 3 for RGB, 1 for grey sources.
      track: shows the progress of decoding.

    Raises:
      UserError: the source is missing or wrong (see load_folder, load_cifar10,
        load_oxford_iiit_pet, load_flowers17), a label is out of range, a split would be empty, a
        class would have no training image, or an image cannot be read and config.on_error is
        "stop".
    """
    cache_dir, threads = user_path("data.cache-dir", config.cache_dir), config.decode_threads
    source = find_source(config)
    splits = split_source(source, config)
    scored, trained = scoring_geometry(config, img_size), training_geometry(config, img_size)
    wanted = {name: trained if name == "train" else scored for name in splits}
    decoded = {
        (origin, geometry): load_pixels(
            source.splits[origin],
            geometry,
            channels,
            cache_dir,
            threads,
            track,
            config.on_error,
        )
        for origin, geometry in dict.fromkeys(
            (origin, wanted[name]) for name, (origin, _) in splits.items()
        )
    }

    def split(name: str) -> Split:
        origin, rows = splits[name]
        examples, found = source.splits[origin], decoded[origin, wanted[name]]
        rows = np.asarray([row for row in rows if row not in found.unreadable], int)
        return Split(
            pixels=found.pixels,
            rows=rows,
            labels=examples.labels[rows],
            names=tuple(examples.names[row] for row in rows),
            crc32=found.crc32[rows],
        )

    skipped = {reason for part in decoded.values() for reason in part.unreadable.values()}
    data = Dataset(
        source.class_names,
        split("train"),
        split("val"),
        split("test"),
        tuple(sorted(skipped)),
        source.passed_over,
    )
    if config.extra_dir:
        data = _with_extra(data, config, trained, channels, threads, track)
    for name in SPLITS:
        if len(getattr(data, name)) == 0:
            first = data.skipped[0]
            raise UserError(f"no image of the {name} split can be read; the first: {first}")
    untaught = set(range(len(data.class_names))) - set(data.train.labels.tolist())
    if untaught:
        raise UserError(
            f"no training image of class {data.class_names[min(untaught)]!r} "
            + (f"can be read; the first: {data.skipped[0]}" if skipped else "exists: add some")
        )
    return data


def _with_extra(
    data: Dataset,
    config: DataConfig,
    geometry: Geometry,
    channels: int,
    threads: int,
    track: Track,
) -> Dataset:
    """With images of config.extra_dir behind the training images, so many in each class."""
    wanted = extra_images(data.train.labels, len(data.class_names), config)
    cache_dir, skipped = user_path("data.cache-dir", config.cache_dir), list(data.skipped)
    for place, (given, numbers) in enumerate(zip(config.extra_dir, wanted, strict=True)):
        root = user_path("data.extra-dir", given)
        examples = load_images_of(root, data.class_names, channels)
        found = load_pixels(
            examples, geometry, channels, cache_dir, threads, track, config.on_error
        )
        skipped += found.unreadable.values()
        readable = np.ones(len(examples.labels), bool)
        readable[list(found.unreadable)] = False
        rng, rows = np.random.default_rng(config.split_seed), []
        for label, number in enumerate(numbers):
            there = np.flatnonzero((examples.labels == label) & readable)
            if len(there) < number:
                raise UserError(
                    f"--data.extra-dir {given} has {len(there)} images of class "
                    f"{data.class_names[label]!r}, and --data.extra-share {config.extra_share:g} "
                    f"takes {number}: make more, or lower the share"
                )
            rows += sorted(rng.permutation(there)[:number].tolist())
        train, taken = data.train, np.asarray(rows, int)
        names = (f"{EXTRA}{place}/{examples.names[row]}" for row in rows)
        data = data._replace(
            train=Split(
                pixels=Stacked(train.pixels, found.pixels),
                rows=np.concatenate([train.rows, len(train.pixels) + taken]),
                labels=np.concatenate([train.labels, examples.labels[taken]]),
                names=(*train.names, *names),
                crc32=np.concatenate([train.crc32, found.crc32[taken]]),
            ),
            extra=data.extra + len(rows),
        )
    return data._replace(skipped=tuple(skipped))


def extra_images(labels: np.ndarray, classes: int, config: DataConfig) -> np.ndarray:
    """How many images of each of config.extra_dir are taken of each class, (D, K).

    Of a class with n training images round(s / (1 - s) n), for the share s, in parts that differ by
    one at most.

    Raises:
      UserError: of one none is taken.
    """
    share, places = config.extra_share, len(config.extra_dir)
    numbers = np.round(share / (1 - share) * np.bincount(labels, minlength=classes)).astype(int)
    wanted = (numbers[None] + np.arange(places)[:, None]) // places
    for place, of_place in zip(config.extra_dir, wanted, strict=True):
        if not of_place.any():
            raise UserError(
                f"--data.extra-share {share:g} takes no image of --data.extra-dir {place}, for "
                f"there are {len(labels)} training images: raise the share, or leave it out"
            )
    return wanted


def find_source(config: DataConfig) -> Source:
    """The configured source, with its labels checked and no image decoded."""
    directory = None if config.dir is None else user_path("data.dir", config.dir)
    if config.name == "digits":
        source = load_digits()
    elif config.name == "cifar10":
        source = load_cifar10(directory)
    elif config.name == "oxford_iiit_pet":
        source = load_oxford_iiit_pet(directory, bool(config.exif))
    elif config.name == "flowers17":
        source = load_flowers17(directory, config.split_seed, bool(config.exif))
    else:
        source = load_folder(directory, config.exif is not False, config.labels)
    for examples in source.splits.values():
        check_labels(examples, source.class_names)
    return source


def split_source(source: Source, config: DataConfig) -> dict[str, tuple[str, np.ndarray]]:
    """The examples of train, val and test.

    Returns:
      For each of the three names, the source's split that it is taken from, and the rows in it.

    Raises:
      UserError: a split would be empty.
    """
    rows = {name: np.arange(len(examples.labels)) for name, examples in source.splits.items()}
    splits = {name: (name, rows[name]) for name in rows}
    for name, fraction, seed in (
        ("test", TEST_FRACTION, 0),
        ("val", config.val_fraction, config.split_seed),
    ):
        if name not in splits:
            left, train = splits["train"][1], source.splits["train"]
            names = [train.names[row] for row in left]
            kept, held_out = stratified_split(train.labels[left], names, fraction, seed)
            splits["train"] = "train", left[kept]
            splits[name] = "train", left[held_out]
    if config.train_per_class is not None:
        splits["train"] = "train", _so_many(source, splits["train"][1], config)
    for name, (_, chosen) in splits.items():
        if len(chosen) == 0:
            raise UserError(
                f"the {name} split has no images: a class that is divided into three splits needs "
                f"at least 3, or give --data.dir a {name}/ folder with images"
            )
    return splits


def _so_many(source: Source, rows: np.ndarray, config: DataConfig) -> np.ndarray:
    """config.train_per_class rows of each class; all of a class that has fewer."""
    labels, names = source.splits["train"].labels, source.splits["train"].names
    by_name = sorted(rows.tolist(), key=lambda row: names[row])
    rng, chosen = np.random.default_rng(config.split_seed), []
    for label in range(len(source.class_names)):
        of_class = [row for row in by_name if labels[row] == label]
        chosen += rng.permutation(of_class)[: config.train_per_class].tolist()
    return np.asarray(sorted(chosen), int)


def describe(dataset: Dataset) -> dict[str, list[str] | dict[str, str]]:
    """The classes, the examples of every split and the images that were left out.

    A run saves this as split.json, and compares it when it is resumed. Each split is described by
    name -> CRC-32 of the pixels in hexadecimal, in order. Generated images are named extra/..., and
    counted.
    """

    def examples(split: Split) -> dict[str, str]:
        return {name: f"{crc:08x}" for name, crc in zip(split.names, split.crc32, strict=True)}

    extra = {"extra_images": dataset.extra} if dataset.extra else {}
    return {
        "class_names": list(dataset.class_names),
        "train": examples(dataset.train),
        "val": examples(dataset.val),
        "test": examples(dataset.test),
        "skipped": list(dataset.skipped),
        **extra,
    }
