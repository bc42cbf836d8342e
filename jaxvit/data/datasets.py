"""The configured data set as three splits, decoded and ready to batch."""

import numpy as np

from jaxvit.config import DataConfig
from jaxvit.data.cache import Track, load_pixels, no_tracking
from jaxvit.data.cifar10 import load_cifar10
from jaxvit.data.decoded import SPLITS, Dataset, Split
from jaxvit.data.digits import load_digits
from jaxvit.data.examples import Source, check_labels
from jaxvit.data.extra import with_extra
from jaxvit.data.flowers17 import load_flowers17
from jaxvit.data.folder import load_folder
from jaxvit.data.oxford_iiit_pet import load_oxford_iiit_pet
from jaxvit.data.preprocessing import Geometry
from jaxvit.data.splits import keep_per_class, stratified_split
from jaxvit.errors import UserError
from jaxvit.paths import user_path

# Share of each class held out for the test where a source has no test split; the same in every run.
TEST_FRACTION = 0.15


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
        data = with_extra(data, config, trained, channels, threads, track)
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

    def training() -> tuple[np.ndarray, np.ndarray, list[str]]:
        left, train = splits["train"][1], source.splits["train"]
        return left, train.labels[left], [train.names[row] for row in left]

    for name, fraction, seed in (
        ("test", TEST_FRACTION, 0),
        ("val", config.val_fraction, config.split_seed),
    ):
        if name not in splits:
            left, labels, names = training()
            kept, held_out = stratified_split(labels, names, fraction, seed)
            splits["train"] = "train", left[kept]
            splits[name] = "train", left[held_out]
    if config.train_per_class is not None:
        left, labels, names = training()
        kept = keep_per_class(labels, names, config.train_per_class, config.split_seed)
        splits["train"] = "train", left[kept]
    for name, (_, chosen) in splits.items():
        if len(chosen) == 0:
            raise UserError(
                f"the {name} split has no images: a class that is divided into three splits needs "
                f"at least 3, or give --data.dir a {name}/ folder with images"
            )
    return splits
