"""Images of --data.extra-dir among those that are trained on."""

import numpy as np

from jaxvit.config import DataConfig
from jaxvit.data.cache import Track, load_pixels
from jaxvit.data.decoded import Dataset, Split, Stacked
from jaxvit.data.folder import load_images_of
from jaxvit.data.preprocessing import Geometry
from jaxvit.errors import UserError
from jaxvit.paths import user_path

EXTRA = "extra/"  # how the names of generated images begin


def with_extra(
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
                    f"takes {number}: put more into {root / data.class_names[label]}, or lower the "
                    "share"
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
