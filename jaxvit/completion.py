"""What a preset leaves open: it follows the data set, the number of its images, or the weights."""

import math
from dataclasses import is_dataclass, replace
from typing import Any, NamedTuple

from jaxvit.config import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Config,
    foreign_options,
)


class Pixels(NamedTuple):
    """What follows a data set: mean and std of its pixels, and the size of image and patch."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    img_size: int
    patch_size: int


OF_DATA = {
    "digits": Pixels((0.305,), (0.376,), 8, 2),
    "cifar10": Pixels(CIFAR10_MEAN, CIFAR10_STD, 32, 4),
}

STEPS_TO_VALIDATE = 8  # at least, between two validations of the preset `folder`
FEW_TO_VALIDATE = 100  # images; below, the 95 % interval of a share is wider than +-10 points


def complete(
    config: Config, train_images: int | None = None, val_images: int | None = None
) -> Config:
    """The configuration with every None filled in that follows the data.

    Args:
      config: as the command line gave it.
      train_images, val_images: how many images are trained on and validate; without them, only
        what follows the data set's name is filled in.
    """
    config = _fill_in(config, by_data_set(config))
    if train_images is None:
        return config
    if config.init.weights is None:
        config = _fill_in(config, by_number_of_images(train_images, val_images))
    else:
        config = _fill_in(config, by_number_of_images_to_tune(train_images, val_images))
    epochs = math.ceil(STEPS_TO_VALIDATE * config.batch_size / train_images)
    return _fill(config, {"val_every_epochs": epochs})


def by_data_set(config: Config) -> dict[str, Any]:
    """What follows the data set's name: size, channels, mean, std, and whether EXIF counts.

    A generator's images lie in [-1, 1], whatever the data set: mean and std are .5.
    """
    data = config.data
    of = OF_DATA.get(data.name, Pixels(IMAGENET_MEAN, IMAGENET_STD, 64, 8))
    if config.makes_images:
        half = (0.5,) * data.channels
        of = of._replace(mean=half, std=half)
    return {
        "data": {"mean": of.mean, "std": of.std, "exif": data.name == "folder"},
        "model": {
            "img_size": of.img_size,
            "patch_size": of.patch_size,
            "in_channels": data.channels,
        },
    }


def by_number_of_images(images: int, val_images: int) -> dict[str, Any]:
    """What the preset `folder` leaves open: few images are seen more often, by a smaller model.

    Images seen in all: below 1,000 images 20,000 sqrt(images / 155), within [10,000, 60,000]; from
    there on 40 epochs, at most 300,000. Measured at 35, 155 and 259 images (docs/experiments.md).

    Args:
      images: that are trained on.
      val_images: that validate. Below FEW_TO_VALIDATE the last state is scored and not the best: on
        155 training images the best of few validations was 1.7 +- 0.4 points worse (41 runs).
    """
    small = images < 1000
    seen = 20_000 * math.sqrt(images / 155) if small else 40 * images
    seen = min(max(seen, 10_000), 60_000) if small else min(seen, 300_000)
    return {
        "epochs": max(1, round(seen / images)),
        "batch_size": 32 if small else 64,
        "select": "last" if val_images < FEW_TO_VALIDATE else "best",
        "model": {
            "embed_dim": 96 if small else 128,
            "num_heads": 3 if small else 4,
            "init": "vit" if small else "torch",
        },
        "optim": {"decay": "matrices" if small else "all"},
    }


def by_number_of_images_to_tune(images: int, val_images: int) -> dict[str, Any]:
    """What the presets that start from pretrained weights leave open.

    Images seen in all: 11,000, but at least 5 epochs and at most 30.

    Args:
      images: that are trained on.
      val_images: that validate; see by_number_of_images.
    """
    return {
        "epochs": min(30, max(5, round(11_000 / images))),
        "batch_size": 32 if images < 1000 else 64,
        "select": "last" if val_images < FEW_TO_VALIDATE else "best",
        "model": {"init": "vit"},
        "optim": {"decay": "matrices"},
    }


def _fill_in(config: Config, values: dict[str, Any]) -> Config:
    """config with these values for what is None, without those of a model of another kind."""
    if not config.model.is_vit:
        foreign = foreign_options(config.model)
        of_model = {name: each for name, each in values["model"].items() if name not in foreign}
        values = values | {"model": of_model}
    return _fill(config, values)


def _fill(config: Any, values: dict[str, Any]) -> Any:
    """config, with these values for those of their fields that are None."""
    filled = {}
    for name, value in values.items():
        found = getattr(config, name)
        if is_dataclass(found):
            filled[name] = _fill(found, value)
        elif found is None:
            filled[name] = value
    return replace(config, **filled)
