"""Training images that a run makes: sampled once, and kept in the cache."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from filelock import FileLock

from jaxvit.cleanup import whole_directory
from jaxvit.config import Config, DataConfig
from jaxvit.data.cache import Track, load_pixels
from jaxvit.data.datasets import find_source, split_source, training_geometry
from jaxvit.data.extra import extra_images
from jaxvit.errors import UserError
from jaxvit.interop.labelled import described
from jaxvit.interop.load import is_run
from jaxvit.interop.saved_generator import load_generator
from jaxvit.paths import user_path
from jaxvit.runtime.digest import sha256
from jaxvit.tasks.samples import image_files, make_samples, save_images

FORMAT = 1  # to be increased whenever the same weights would make other images, but for rounding


def with_sampled(config: DataConfig, track: Track) -> DataConfig:
    """The configuration with a folder of images in place of each run in extra_dir.

    As many of each class are made as are trained on, from the seed split_seed, by the sampler that
    the run's configuration says. A folder in the cache is named by a hash of the weights and of
    these numbers.

    Raises:
      UserError: a run is not whole, makes no images, none of a class, or those of other classes; it
        was trained on images that validate or test here, whatever their names; one of these cannot
        be read; or the cache cannot be written.
    """
    places = [user_path("data.extra-dir", place) for place in config.extra_dir]
    for place in places:
        if (place / "split.json").is_file() and not is_run(place):
            raise UserError(
                f"--data.extra-dir {place} is a run whose config.json or checkpoints/ is missing: "
                "restore it, or give another run or a folder of images"
            )
    if not any(place.is_dir() and is_run(place) for place in places):
        return config
    source = find_source(config)
    splits = split_source(source, config)
    labels = source.splits["train"].labels[splits["train"][1]]
    wanted = extra_images(labels, len(source.class_names), config)
    found = [
        str(_sampled(place, source.class_names, numbers, config, track))
        if place.is_dir() and is_run(place)
        else str(place)
        for place, numbers in zip(places, wanted, strict=True)
    ]
    return replace(config, extra_dir=tuple(found))


def _sampled(
    path: Path,
    class_names: tuple[str, ...],
    numbers: np.ndarray,
    config: DataConfig,
    track: Track,
) -> Path:
    saved, option = load_generator(path), f"--data.extra-dir {path}"
    if not saved.config.model.conditional:
        raise UserError(f"{option} makes images without a class: train it with --model.conditional")
    if saved.class_names != class_names:
        raise UserError(
            f"{option} makes images of other classes than are trained on: train it on the same data"
        )
    scored = _scored(config, saved.config, track)
    if seen := [name for name, crc in described(path, "train").items() if crc in scored]:
        raise UserError(
            f"{option} was trained on {len(seen)} images that validate or test here, such as "
            f"{min(seen)}: train it with the same --data.split-seed and --data.val-fraction"
        )
    labels = np.repeat(np.arange(len(numbers)), numbers).astype(np.int32)
    asked = f"{FORMAT} {sha256(saved.weights)} {saved.config.diffusion} {numbers.tolist()} "
    name = hashlib.sha256(f"{asked}{config.split_seed}".encode()).hexdigest()[:32]
    place = user_path("data.cache-dir", config.cache_dir) / f"samples-{name}"
    files = set(image_files(labels, class_names))
    if _is_whole(place, files):
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_suffix(".lock")):
            if not _is_whole(place, files):
                for left in (place, *place.parent.glob(f".{place.name}.*")):  # of a killed process
                    shutil.rmtree(left, ignore_errors=True)
                images = make_samples(saved, labels, config.split_seed, track=track)
                with whole_directory(place) as staging:
                    save_images(staging, images, labels, class_names)
    except OSError as error:
        raise UserError(
            f"--data.cache-dir {config.cache_dir} cannot be written ({error.strerror or error}): "
            "choose another place"
        ) from error
    return place


def _scored(config: DataConfig, run: Config, track: Track) -> set[str]:
    """The CRC-32 of each image that validates or tests, decoded as a run decodes what it trains on.

    Names say little: folders repeat them, and the same photo may have several. Of images that are
    trained on too, such as a photo that is there twice, a score is too good anyway.
    """
    source = find_source(replace(config, exif=run.data.exif))
    splits = split_source(source, config)
    geometry = training_geometry(run.data, run.model.img_size)
    cache_dir = user_path("data.cache-dir", config.cache_dir)
    decoded = {
        origin: load_pixels(
            source.splits[origin],
            geometry,
            config.channels,
            cache_dir,
            config.decode_threads,
            track,
            config.on_error,
        )
        for origin, _ in splits.values()
    }
    found = {
        name: {
            f"{decoded[origin].crc32[row]:08x}"
            for row in rows
            if row not in decoded[origin].unreadable
        }
        for name, (origin, rows) in splits.items()
    }
    return (found["val"] | found["test"]) - found["train"]


def _is_whole(place: Path, files: set[str]) -> bool:
    """Whether a folder of the cache holds these images alone: some may have been removed."""
    return {path.relative_to(place).as_posix() for path in place.glob("*/*")} == files
