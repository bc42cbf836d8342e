"""Where the images come from, and how they are decoded."""

from dataclasses import dataclass, replace
from typing import Literal

from jaxvit.config.checks import count, directory, option, positive, require, within
from jaxvit.paths import user_path

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Of all pixels of the training images.
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)


@dataclass(frozen=True)
class DataConfig:
    """Where the images come from."""

    # digits (embedded), cifar10 and oxford_iiit_pet (the original files or TFDS), flowers17 (the
    # original files), folder (DIR/<class>/*.jpg).
    name: Literal["digits", "cifar10", "oxford_iiit_pet", "flowers17", "folder"] = "digits"
    # The data set's directory; without one, cifar10 and oxford_iiit_pet use TFDS's own. A resumed
    # run compares the images, not the directory's name.
    dir: str | None = option(None, directory, may_change=True)
    # Cache of decoded images (memory-mapped, one directory for each source and size) and of
    # compiled programs.
    cache_dir: str = option("~/.cache/jaxvit", directory, may_change=True)
    # Whether the folders of --data.name folder are classes. False: every image below DIR, at any
    # depth, for a method that learns without labels.
    labels: bool = True
    # Share of each class held out for validation where the source has no validation split.
    val_fraction: float = option(0.1, within(0, 1, closed=False), positive)
    # Seed of the train/validation split, and of flowers17's test split; separate from --seed, so
    # that all seeds share one split.
    split_seed: int = option(0, within(0, 2**32 - 1))
    # Images of each class that are trained on, chosen by split_seed; validation and test stay as
    # they are. None: all.
    train_per_class: int | None = option(None, count(1, 10**6))
    # Generated images that are trained on too, in equal parts where several are given: DIR/<class>/
    # *.png, as python -m jaxvit sample writes them, or a run that makes them. Validation and test
    # have none.
    extra_dir: tuple[str, ...] = option((), may_change=True)
    # Share of the training images, in each class, that are of extra_dir.
    extra_share: float = option(0.3, within(0, 0.99), positive)
    # Per-channel mean of pixels in [0, 1]; None means the data set's.
    mean: tuple[float, ...] | None = IMAGENET_MEAN
    # Per-channel standard deviation of pixels in [0, 1]; None means the data set's.
    std: tuple[float, ...] | None = IMAGENET_STD
    # squash: an image is resized to a square. short_side: its shorter side is resized, which keeps
    # the aspect ratio, and the centre is cut out. None means as the weights were trained.
    resize: Literal["squash", "short_side"] | None = "squash"
    # Side of the centre crop over the side that images are resized to.
    crop_share: float | None = option(1.0, within(0, 1), positive)
    # Filter of the resizing.
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = "bilinear"
    # Side at which training images are cached over the model's, so that random crops are cut from
    # more pixels than the model sees; above 1 they are squashed to a square. 1: as those scored.
    stored_scale: float = option(1.0, within(1, 16))
    # Rotate photos by their EXIF orientation. None rotates those of your own folder and leaves the
    # other data sets' images as they are stored, as the lab does.
    exif: bool | None = None
    # An image that cannot be read stops the run (stop), or is left out and counted (skip).
    on_error: Literal["stop", "skip"] = "stop"
    # Compute the features of a frozen backbone once and cache them: the head trains in seconds.
    # Needs --optim.freeze backbone and no augmentation.
    cache_features: bool = False
    # Threads that decode images; 0 means one for each core.
    decode_threads: int = option(0, count(0, 1024), may_change=True)
    # Batches copied to the devices ahead of the step that uses them.
    prefetch_batches: int = option(2, count(1, 1000), may_change=True)

    def check(self) -> None:
        for value in self.mean or ():
            within(-1e6, 1e6)("data.mean", value)
        for value in self.std or ():
            positive("data.std", value)
        for name, values in {"data.mean": self.mean, "data.std": self.std}.items():
            require(
                values is None or len(values) == self.channels,
                f"--{name} has {len(values or ())} values, but the images have {self.channels} "
                f"channel(s): give {self.channels}",
            )
        require(
            self.name != "digits" or self.dir is None,
            f"--data.dir {self.dir} does not fit --data.name digits, which is embedded: choose the "
            f"preset for it, as in: python train_jax.py folder --data.dir {self.dir}",
        )
        require(
            self.name != "folder" or self.dir is not None,
            "--data.name folder needs --data.dir DIR, a directory with one folder for each class",
        )
        for value in self.extra_dir:
            directory("data.extra-dir", value)
        places = [user_path("data.extra-dir", value).resolve() for value in self.extra_dir]
        require(
            len(set(places)) == len(places),
            "--data.extra-dir names a place twice: give each once",
        )
        require(
            not self.extra_dir or self.labels,
            f"--data.extra-dir {' '.join(self.extra_dir)} adds images to classes, and "
            "--data.no-labels leaves none: give one of them",
        )
        require(
            bool(self.extra_dir) or self.extra_share == DataConfig.extra_share,
            f"--data.extra-share {self.extra_share:g} is that of --data.extra-dir: give it too",
        )
        require(
            self.labels or self.name == "folder",
            f"--data.no-labels is for --data.name folder, and this is {self.name}: leave it out",
        )

    def without_extra(self) -> "DataConfig":
        """The same images without generated ones, which only training sees."""
        return replace(self, extra_dir=(), extra_share=DataConfig.extra_share)

    @property
    def channels(self) -> int:
        """Channels of the data set's images: 1 for grey, 3 for RGB."""
        return 1 if self.name == "digits" else 3
