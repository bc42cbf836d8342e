"""Every choice a run makes, as frozen dataclasses, each with its checks beside its fields.

The command line is made from these classes (`--model.embed-dim` is `Config.model.embed_dim`), and
the comment above or behind a field is its help text. Where a preset says nothing, the lab's numbers
hold: ViT-B/16, PyTorch's AdamW, no augmentation.
"""

import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, Literal

from jaxvit.errors import UserError
from jaxvit.paths import user_path

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Check = Callable[[str, Any], None]  # (option, value): raises UserError


def require(ok: bool, message: str) -> None:
    if not ok:
        raise UserError(message)


# Checks of one value, to be given to `option`.


def count(low: int, high: int = 2**31 - 1) -> Check:
    """An integer in [low, high]."""

    def check(option: str, value: int) -> None:
        require(value >= low, f"--{option} {value} is too small: it must be at least {low}")
        require(value <= high, f"--{option} {value} is too large: it must be at most {high}")

    return check


def within(low: float, high: float, closed: bool = True) -> Check:
    """A number in [low, high], or in [low, high) where not closed."""

    def check(option: str, value: float) -> None:
        inside = low <= value <= high if closed else low <= value < high
        end = "]" if closed else ")"
        require(inside, f"--{option} {value} is out of range: it must lie in [{low}, {high}{end}")

    return check


def positive(option: str, value: float) -> None:
    # float32 holds it, and its square root
    require(1e-30 < value < 1e30, f"--{option} {value} must be finite and above 0")


def directory(option: str, value: str | None) -> None:
    require(value != "", f"--{option} needs the name of a directory")


def span(low: float, high: float, what: str) -> Check:
    """A pair LOW HIGH with low < LOW <= HIGH <= high."""

    def check(option: str, value: tuple[float, float]) -> None:
        limit = f" <= {high:g}" if high < math.inf else ""
        require(
            low < value[0] <= value[1] <= high and value[1] < math.inf,
            f"--{option} {value[0]} {value[1]} is not a range{what}: give LOW HIGH with "
            f"{low:g} < LOW <= HIGH{limit}",
        )

    return check


def option(default: Any = MISSING, *checks: Check, may_change: bool = False, **more: Any) -> Any:
    """A field with its checks.

    Args:
      default: as in dataclasses.field.
      checks: each is called with the option's name and its value, unless that is None.
      may_change: whether a resumed run may have another value: no number depends on it, or, where
        it only places the work, none by more than rounding.
      more: other arguments of dataclasses.field.
    """
    return field(default=default, metadata={"checks": checks, "may_change": may_change}, **more)


@dataclass(frozen=True)
class DataConfig:
    """Where the images come from."""

    # digits (embedded), oxford_iiit_pet (TFDS or the original files), folder (DIR/<class>/*.jpg).
    name: Literal["digits", "oxford_iiit_pet", "folder"] = "digits"
    # The data set's directory; for oxford_iiit_pet without one, TFDS's own. What lies there is
    # compared when a run is resumed, not its name.
    dir: str | None = option(None, directory, may_change=True)
    # Decoded images are cached here, memory-mapped, one directory for each source and size; and
    # compiled programs.
    cache_dir: str = option("~/.cache/jaxvit", directory, may_change=True)
    # Share of each class held out for validation where the source has no validation split.
    val_fraction: float = option(0.1, within(0, 1, closed=False), positive)
    # Seeds the train/validation split; not --seed, so that seeds are compared on one split.
    split_seed: int = option(0, within(0, 2**32 - 1))
    # Per-channel mean of pixels in [0, 1]; None follows the data set.
    mean: tuple[float, ...] | None = IMAGENET_MEAN
    # Per-channel standard deviation of pixels in [0, 1]; None follows the data set.
    std: tuple[float, ...] | None = IMAGENET_STD
    # Turn photos upright by their EXIF orientation; None does so for your own folder, and takes the
    # other data sets' images as they are stored, as the lab does.
    exif: bool | None = None
    # What an image that cannot be read does: stop the run, or be skipped and counted.
    on_error: Literal["stop", "skip"] = "stop"
    # Threads that decode images; 0 means one for each core.
    decode_threads: int = option(0, count(0, 1024), may_change=True)
    # Batches placed on the device before they are asked for.
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

    @property
    def channels(self) -> int:
        """Of the data set's images: 1 for grey, 3 for RGB."""
        return 1 if self.name == "digits" else 3


@dataclass(frozen=True)
class ModelConfig:
    """The Vision Transformer."""

    # Height and width of the square input, in pixels.
    img_size: int | None = option(224, count(1, 4096))
    # Side of a patch, in pixels; divides img_size.
    patch_size: int | None = option(16, count(1, 4096))
    # 3 for RGB, 1 for digits; None follows the data set.
    in_channels: int | None = 3
    embed_dim: int = option(768, count(1, 2**16))  # Width D of a token.
    num_heads: int = option(12, count(1, 2**16))  # Attention heads; divides embed_dim.
    num_layers: int = option(12, count(1, 1000))  # Encoder layers.
    mlp_ratio: float = option(4.0, within(0, 64), positive)  # Hidden MLP width over embed_dim.
    # Dropout rate inside the MLP, in [0, 1).
    dropout: float = option(0.1, within(0, 1, closed=False))
    # Type of the matmuls; all else stays float32. On a recent NVIDIA GPU float32 matmuls run in
    # TF32 unless JAX_DEFAULT_MATMUL_PRECISION=highest is set.
    dtype: Literal["float32", "bfloat16"] = "float32"
    # Recompute each layer in the backward pass: less memory, about a third more time.
    remat: bool = False
    # torch: PyTorch's defaults, the lab's; vit: Xavier, with zero biases and head.
    init: Literal["torch", "vit"] = "torch"

    def check(self) -> None:
        if None not in (self.img_size, self.patch_size):
            self._check_patches()
        require(
            self.embed_dim % self.num_heads == 0,
            f"--model.embed-dim {self.embed_dim} is not divisible by --model.num-heads "
            f"{self.num_heads}: choose a multiple, such as "
            f"{nearest_multiple(self.embed_dim, self.num_heads)}",
        )
        require(
            int(self.embed_dim * self.mlp_ratio) >= 1,
            f"--model.mlp-ratio {self.mlp_ratio} leaves the MLP no hidden unit: raise it to at "
            f"least {1 / self.embed_dim:g}",
        )

    def _check_patches(self) -> None:
        require(
            self.img_size % self.patch_size == 0,
            f"--model.img-size {self.img_size} is not divisible by --model.patch-size "
            f"{self.patch_size}: choose a multiple, such as "
            f"{nearest_multiple(self.img_size, self.patch_size)}",
        )


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentation in the compiled step."""

    # Area of the random resized crop, as a range of shares of the image; 1 1 disables it.
    crop_scale: tuple[float, float] = option((1.0, 1.0), span(0, 1, " of shares"))
    # Range of the crop's width over its height.
    crop_ratio: tuple[float, float] = option((3 / 4, 4 / 3), span(0, math.inf, ""))
    flip_p: float = option(0.0, within(0, 1))  # Probability of a horizontal flip.
    # Squares cut from each image and filled with the mean colour.
    cutout_holes: int = option(0, count(0, 1000))
    cutout_length: int = option(16, count(1, 4096))  # Side of such a square, in pixels.
    # lam ~ Beta(alpha, alpha), one a batch; 0 disables Mixup.
    mixup_alpha: float = option(0.0, within(0, 1e6))
    # lam ~ Beta(alpha, alpha), one a sample; 0 disables CutMix.
    cutmix_alpha: float = option(0.0, within(0, 1e6))
    cutmix_p: float = option(0.5, within(0, 1))  # Probability that CutMix touches a sample.
    # With Mixup and CutMix both on, each batch gets one of them: CutMix with this probability.
    cutmix_share: float = option(0.5, within(0, 1))


@dataclass(frozen=True)
class OptimConfig:
    """AdamW and its schedule."""

    lr: float = option(1e-3, positive)  # Peak learning rate.
    # Decoupled weight decay; multiplied by the learning rate.
    weight_decay: float = option(0.01, within(0, 1e6))
    # Decay of the gradient's running mean.
    b1: float = option(0.9, within(0, 1, closed=False))
    # Decay of the squared gradient's running mean.
    b2: float = option(0.999, within(0, 1, closed=False))
    eps: float = option(1e-8, positive)  # Added to the root of the second moment.
    schedule: Literal["constant", "cosine"] = "constant"  # cosine ends at 0.
    # Share of the steps over which the rate rises linearly from 0.
    warmup: float = option(0.0, within(0, 1))
    # The same as a number of steps, which then counts instead of the share.
    warmup_steps: int | None = option(None, count(0, 10**9))
    # Limit on the gradient's global norm; 0 disables clipping.
    clip_norm: float = option(0.0, within(0, 1e6))
    # all: as the lab; matrices: spare biases, norms, the class token and the positions.
    decay: Literal["all", "matrices"] = "all"
    # Decay of the parameters' running average, used for evaluation; 0 disables it.
    ema_decay: float = option(0.0, within(0, 1, closed=False))


@dataclass(frozen=True)
class ParallelConfig:
    """How the step is spread over devices."""

    mode: Literal["jit", "pmap"] = "jit"  # jit over a mesh, or pmap, which serves one process.
    # Shard parameters, averages and optimiser state over the devices, and gather the parameters in
    # each step: the state takes less memory on each, and steps more communication.
    shard_params: bool = option(False, may_change=True)

    def check(self) -> None:
        require(
            self.mode == "jit" or not self.shard_params,
            "--parallel.shard-params needs --parallel.mode jit: pmap copies the state to every "
            "device",
        )


@dataclass(frozen=True)
class DistributedConfig:
    """How this process finds the others; under Slurm and on a TPU pod JAX finds them by itself."""

    # HOST:PORT of process 0, the same in every process.
    coordinator: str | None = option(None, may_change=True)
    num_processes: int | None = option(None, may_change=True)  # How many processes there are.
    process_id: int | None = option(None, may_change=True)  # Which of them this is, from 0.

    def check(self) -> None:
        given = [value is not None for value in vars(self).values()]
        require(
            all(given) or not any(given),
            "--distributed.coordinator, --distributed.num-processes and --distributed.process-id "
            "go together: give all three, or none",
        )
        if not any(given):
            return
        host, _, port = self.coordinator.rpartition(":")
        require(
            bool(host) and port.isascii() and port.isdecimal() and 0 < int(port) < 2**16,
            f"--distributed.coordinator {self.coordinator} is not HOST:PORT: give process 0's "
            "address, such as 10.0.0.1:1234",
        )
        require(
            1 <= self.num_processes <= 2**20,
            f"--distributed.num-processes {self.num_processes} is out of range: it must be at "
            "least 1",
        )
        require(
            0 <= self.process_id < self.num_processes,
            f"--distributed.process-id {self.process_id} is out of range: it must lie in "
            f"[0, {self.num_processes})",
        )


@dataclass(frozen=True)
class CheckpointConfig:
    """What is kept, so that a run can be resumed and the best state found again."""

    # Steps between two checkpoints; there is always one at an epoch's end.
    every_steps: int = option(0, count(0, 10**9), may_change=True)
    # How many of the latest to keep, beside the best.
    keep: int = option(2, count(1, 10**6), may_change=True)


@dataclass(frozen=True)
class Config:
    """Train a Vision Transformer."""

    # Fixes initialisation, order, augmentation and dropout.
    seed: int = option(0, within(0, 2**32 - 1))
    # Passes over the training split; None follows the number of images.
    epochs: int | None = option(10, count(1, 10**6))
    # Images in a step, over all devices; None follows the number of images.
    batch_size: int | None = option(32, count(1, 2**20))
    # Parts into which each batch is cut, one after the other: less memory, the same step.
    grad_accum_steps: int = option(1, count(1, 2**20))
    # eps: targets are (1 - eps) one-hot + eps / K.
    label_smoothing: float = option(0.1, within(0, 1, closed=False))
    out: str = option("runs/run", directory, may_change=True)  # Where the run is written.
    # Insist that there is a run to resume; without it an unfinished run is resumed too.
    resume: bool = option(False, may_change=True)
    # Replace an existing run.
    overwrite: bool = option(False, may_change=True)
    # Give a finished run more epochs: --epochs is the new total. The schedule continues as that of
    # the larger number, so the result is not that of a fresh run.
    extend: bool = option(False, may_change=True)
    log_every_steps: int = option(10, count(1, 10**9))  # Steps between two lines in metrics.jsonl.
    # Cache compiled programs in data.cache_dir: the same command starts sooner the next time. With
    # many processes they are not cached.
    keep_programs: bool = option(True, may_change=True)
    # On a CPU under Linux, keep freed memory with the process instead of returning it after each
    # step: faster where a step needs more than 64 MiB, slower where it needs less.
    keep_memory: bool = option(False, may_change=True)
    # Where the images come from.
    data: DataConfig = field(default_factory=DataConfig)
    # The Vision Transformer.
    model: ModelConfig = field(default_factory=ModelConfig)
    # Augmentation in the compiled step.
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    # AdamW and its schedule.
    optim: OptimConfig = field(default_factory=OptimConfig)
    # How the step is spread over devices.
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    # What is kept of a run.
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    # How this process finds the others.
    distributed: DistributedConfig = field(default_factory=DistributedConfig)

    @property
    def follows_images(self) -> bool:
        """Whether something is still to be filled in from the number of images."""
        return self.epochs is None or self.batch_size is None

    def check(self) -> None:
        require(
            self.model.in_channels in (None, self.data.channels),
            f"--model.in-channels {self.model.in_channels} does not fit --data.name "
            f"{self.data.name}, whose images have {self.data.channels}: set it to "
            f"{self.data.channels}",
        )
        require(
            self.resume + self.overwrite + self.extend <= 1,
            "--resume keeps the run that is there, --overwrite removes it and --extend gives it "
            "more epochs: give one of them",
        )
        require(
            self.batch_size is None or self.batch_size % self.grad_accum_steps == 0,
            f"--batch-size {self.batch_size} cannot be cut into --grad-accum-steps "
            f"{self.grad_accum_steps} equal parts: choose a multiple of {self.grad_accum_steps}",
        )
        if self.data.name == "folder":
            images = user_path("data.dir", self.data.dir).resolve()
            for name, value in {"out": self.out, "data.cache-dir": self.data.cache_dir}.items():
                require(
                    not user_path(name, value).resolve().is_relative_to(images),
                    f"--{name} {value} lies in --data.dir {self.data.dir}, where it would be taken "
                    "for a class: choose another place",
                )


def nearest_multiple(value: int, of: int) -> int:
    return max(1, round(value / of)) * of


def check(config: Any, prefix: str = "") -> None:
    """Refuses values that cannot work, before anything is read or compiled.

    First each field's own checks, then those of each class, which relate its fields.

    Raises:
      UserError: naming the option, its value, the limit and the way out.
    """
    for each in fields(config):
        value, name = getattr(config, each.name), prefix + each.name.replace("_", "-")
        if is_dataclass(value):
            check(value, f"{name}.")
        elif value is not None:
            for check_value in each.metadata.get("checks", ()):
                check_value(name, value)
    if hasattr(config, "check"):
        config.check()


def may_change(name: str, cls: type = Config) -> bool:
    """Whether a resumed run may have another value of an option, such as "data.dir"."""
    first, _, rest = name.partition(".")
    for each in fields(cls):
        if each.name == first:
            return may_change(rest, each.type) if rest else each.metadata.get("may_change", False)
    return False


def config_from_dict(cls: type, values: dict):
    """The inverse of dataclasses.asdict, after a passage through JSON.

    Raises:
      TypeError: an unknown field.
    """
    kinds = {field.name: field.type for field in fields(cls)}
    made = {}
    for name, value in values.items():
        if is_dataclass(kinds.get(name)):
            value = config_from_dict(kinds[name], value)
        made[name] = tuple(value) if isinstance(value, list) else value
    return cls(**made)
