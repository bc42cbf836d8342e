"""Training images that a run makes: sampled once, and kept in the cache."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from filelock import FileLock

from jaxvit.cleanup import whole_directory
from jaxvit.config import DataConfig
from jaxvit.data.cache import Track
from jaxvit.data.datasets import find_source, split_source
from jaxvit.data.extra import extra_images
from jaxvit.errors import UserError
from jaxvit.interop.labelled import described
from jaxvit.interop.load import is_run
from jaxvit.interop.saved_generator import load_generator
from jaxvit.paths import user_path
from jaxvit.runtime.digest import sha256
from jaxvit.tasks.samples import make_samples, save_images

FORMAT = 1  # to be increased whenever the same weights would make other images


def with_sampled(config: DataConfig, track: Track) -> DataConfig:
    """The configuration with a folder of images in place of each run in extra_dir.

    As many of each class are made as are trained on, from the seed split_seed, by the sampler that
    the run's configuration says. A folder in the cache is named by a hash of the weights and of
    these numbers.

    Raises:
      UserError: a run makes no images, none of a class, or those of other classes; it was trained
        on images that validate or test here; or the cache cannot be written.
    """
    places = [user_path("data.extra-dir", place) for place in config.extra_dir]
    if not any(place.is_dir() and is_run(place) for place in places):
        return config
    source = find_source(config)
    splits = split_source(source, config)
    labels = source.splits["train"].labels[splits["train"][1]]
    wanted = extra_images(labels, len(source.class_names), config)
    scored: set[str] = set()
    for name in ("val", "test"):
        origin, rows = splits[name]
        names = {source.splits[origin].names[row] for row in rows}
        # A folder of its own may hold other images under the names of training ones.
        scored |= names if origin == "train" else names - set(source.splits["train"].names)
    found = [
        str(_sampled(place, source.class_names, numbers, scored, config, track))
        if place.is_dir() and is_run(place)
        else str(place)
        for place, numbers in zip(places, wanted, strict=True)
    ]
    return replace(config, extra_dir=tuple(found))


def _sampled(
    path: Path,
    class_names: tuple[str, ...],
    numbers: np.ndarray,
    scored: set[str],
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
    if seen := scored.intersection(described(path, "train")):
        raise UserError(
            f"{option} was trained on {len(seen)} images that validate or test here, such as "
            f"{min(seen)}: train it with the same --data.split-seed and --data.val-fraction"
        )
    labels = np.repeat(np.arange(len(numbers)), numbers).astype(np.int32)
    asked = f"{FORMAT} {sha256(saved.weights)} {saved.config.diffusion} {numbers.tolist()} "
    name = hashlib.sha256(f"{asked}{config.split_seed}".encode()).hexdigest()[:32]
    place = user_path("data.cache-dir", config.cache_dir) / f"samples-{name}"
    if _is_whole(place, len(labels)):
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_suffix(".lock")):
            if not _is_whole(place, len(labels)):
                shutil.rmtree(place, ignore_errors=True)
                images = make_samples(saved, labels, config.split_seed, track=track)
                with whole_directory(place) as staging:
                    save_images(staging, images, labels, class_names)
    except OSError as error:
        raise UserError(
            f"--data.cache-dir {config.cache_dir} cannot be written ({error.strerror or error}): "
            "choose another place"
        ) from error
    return place


def _is_whole(place: Path, number: int) -> bool:
    """Whether a folder of the cache holds so many images: a part may have been removed."""
    return sum(1 for _ in place.glob("*/*.png")) == number
