"""Every option of a run, as frozen dataclasses whose fields carry their checks.

The command line is generated from these classes (`--model.embed-dim` is `Config.model.embed_dim`),
and the comment above or behind a field is its help text. The defaults are the lab's values:
ViT-B/16, PyTorch's AdamW, no augmentation. A preset (jaxvit.presets) replaces some of them.
"""

import math
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, Literal

from jaxvit.errors import UserError
from jaxvit.paths import user_path

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Check = Callable[[str, Any], None]  # (option, value): raises UserError


def require(ok: bool, message: str) -> None:
    """Raises UserError(message) unless ok."""
    if not ok:
        raise UserError(message)


# Checks of one value, passed to `option`.


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
    """A number above 0 that float32 can represent, as well as its square root."""
    require(1e-30 < value < 1e30, f"--{option} {value} must be finite and above 0")


def directory(option: str, value: str | None) -> None:
    """A name that is not empty."""
    require(value != "", f"--{option} needs the name of a directory")


def part_to_freeze(option: str, value: str) -> None:
    """One of "none", "backbone" and "N layers"."""
    require(
        value in ("none", "backbone") or frozen_layers(value) is not None,
        f"--{option} {value!r} names no part of the model: give none, backbone, or a number of "
        f'layers, as in --{option} "6 layers"',
    )


def frozen_layers(freeze: str) -> int | None:
    """N of "N layers", or None for anything else."""
    found = re.fullmatch(r"([0-9]{1,9}) layers?", freeze)
    return int(found[1]) if found else None


def not_empty(option: str, value: str) -> None:
    """Anything but an empty text."""
    require(value != "", f"--{option} is empty: give a name, or leave it out")


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
      may_change: whether a resumed run may have another value. That is so if no result depends on
        it, or if it only places the work on devices and results change by rounding.
      more: other arguments of dataclasses.field.
    """
    return field(default=default, metadata={"checks": checks, "may_change": may_change}, **more)


@dataclass(frozen=True)
class DataConfig:
    """Where the images come from."""

    # digits (embedded), oxford_iiit_pet (TFDS or the original files), folder (DIR/<class>/*.jpg).
    name: Literal["digits", "oxford_iiit_pet", "folder"] = "digits"
    # The data set's directory; oxford_iiit_pet uses TFDS's own if none is given. A resumed run
    # compares the images, not the directory's name.
    dir: str | None = option(None, directory, may_change=True)
    # Cache of decoded images (memory-mapped, one directory for each source and size) and of
    # compiled programs.
    cache_dir: str = option("~/.cache/jaxvit", directory, may_change=True)
    # Share of each class held out for validation where the source has no validation split.
    val_fraction: float = option(0.1, within(0, 1, closed=False), positive)
    # Seed of the train/validation split; separate from --seed, so that all seeds share one split.
    split_seed: int = option(0, within(0, 2**32 - 1))
    # Per-channel mean of pixels in [0, 1]; None means the data set's.
    mean: tuple[float, ...] | None = IMAGENET_MEAN
    # Per-channel standard deviation of pixels in [0, 1]; None means the data set's.
    std: tuple[float, ...] | None = IMAGENET_STD
    # squash: an image is resized to a square. short_side: its shorter side is resized, which keeps
    # the aspect ratio, and the centre is cut out. None means as the weights were trained.
    resize: Literal["squash", "short_side"] | None = "squash"
    # Side of the centre crop over the side that images are resized to.
    crop_share: float | None = option(1.0, within(0, 1), positive)
    interpolation: Literal["bilinear", "bicubic"] | None = "bilinear"  # Filter of the resizing.
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

    @property
    def channels(self) -> int:
        """Channels of the data set's images: 1 for grey, 3 for RGB."""
        return 1 if self.name == "digits" else 3


@dataclass(frozen=True)
class ModelConfig:
    """The Vision Transformer."""

    # Height and width of the square input, in pixels.
    img_size: int | None = option(224, count(1, 4096))
    # Side of a patch, in pixels; divides img_size.
    patch_size: int | None = option(16, count(1, 4096))
    # Channels of the input: 3 for RGB, 1 for digits; None means the data set's.
    in_channels: int | None = 3
    embed_dim: int | None = option(768, count(1, 2**16))  # Width D of a token.
    num_heads: int | None = option(12, count(1, 2**16))  # Attention heads; divides embed_dim.
    num_layers: int | None = option(12, count(1, 1000))  # Encoder layers.
    # Hidden MLP width over embed_dim.
    mlp_ratio: float | None = option(4.0, within(0, 64), positive)
    # Dropout rate inside the MLP, in [0, 1): after GELU and after the second matmul.
    dropout: float = option(0.1, within(0, 1, closed=False))
    # Dropout rate after GELU where it is not --model.dropout.
    activation_dropout: float | None = option(None, within(0, 1, closed=False))
    # Dropout rate of the attention weights.
    attention_dropout: float = option(0.0, within(0, 1, closed=False))
    # Dropout rate after attention's output projection.
    projection_dropout: float = option(0.0, within(0, 1, closed=False))
    # Dropout rate of the tokens before the encoder.
    embedding_dropout: float = option(0.0, within(0, 1, closed=False))
    # Stochastic depth: rate at which the last layer is left out, for each example; it rises
    # linearly from 0 in the first layer.
    drop_path: float = option(0.0, within(0, 1, closed=False))
    norm_eps: float | None = option(1e-5, positive)  # Epsilon of LayerNorm.
    gelu: Literal["erf", "tanh"] | None = "erf"  # The exact GELU, or its approximation by tanh.
    # Initial value of LayerScale; 0 means a model without it.
    layer_scale: float | None = option(0.0, within(0, 1e6))
    # Register tokens beside the class token.
    register_tokens: int | None = option(0, count(0, 1000))
    qkv_bias: bool | None = True  # Whether q, k and v have a bias.
    # What the head sees: the class token, the mean of the patches, or both side by side.
    pool: Literal["cls", "mean", "both"] | None = "cls"
    # Type of the matmuls; all else stays float32. On a recent NVIDIA GPU, float32 matmuls run in
    # TF32 unless JAX_DEFAULT_MATMUL_PRECISION=highest is set.
    dtype: Literal["float32", "bfloat16"] = "float32"
    # Recompute each layer in the backward pass: less memory, about a third more time.
    remat: bool = False
    # torch: PyTorch's defaults, as in the lab; vit: Xavier, with zero biases and a zero head.
    init: Literal["torch", "vit"] | None = "torch"

    def check(self) -> None:
        if None not in (self.img_size, self.patch_size):
            require(
                self.img_size % self.patch_size == 0,
                f"--model.img-size {self.img_size} is not divisible by --model.patch-size "
                f"{self.patch_size}: choose a multiple, such as "
                f"{nearest_multiple(self.img_size, self.patch_size)}",
            )
        if None not in (self.embed_dim, self.num_heads):
            require(
                self.embed_dim % self.num_heads == 0,
                f"--model.embed-dim {self.embed_dim} is not divisible by --model.num-heads "
                f"{self.num_heads}: choose a multiple, such as "
                f"{nearest_multiple(self.embed_dim, self.num_heads)}",
            )
        if None not in (self.embed_dim, self.mlp_ratio):
            require(
                int(self.embed_dim * self.mlp_ratio) >= 1,
                f"--model.mlp-ratio {self.mlp_ratio} leaves the MLP no hidden unit: raise it to at "
                f"least {1 / self.embed_dim:g}",
            )


@dataclass(frozen=True)
class InitConfig:
    """Where training starts from."""

    # Pretrained weights: a .safetensors or .npz file, a directory of Hugging Face or timm, one of
    # our runs, or hf://OWNER/NAME. The model is theirs, with a new head. A resumed run compares the
    # weights, not the name.
    weights: str | None = option(None, not_empty, may_change=True)
    # How the tensors of the file are named; None recognises it.
    layout: Literal["timm", "hf", "google", "lukemelas", "torchvision", "lab"] | None = None


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentation in the compiled step."""

    # Area of the random resized crop, as a range of fractions of the image's; 1 1 disables it.
    crop_scale: tuple[float, float] = option((1.0, 1.0), span(0, 1, " of shares"))
    # Range of the crop's width over its height.
    crop_ratio: tuple[float, float] = option((3 / 4, 4 / 3), span(0, math.inf, ""))
    flip_p: float = option(0.0, within(0, 1))  # Probability of a horizontal flip.
    # Cutout: squares in each image that are filled with the mean colour; 0 disables it.
    cutout_holes: int = option(0, count(0, 1000))
    cutout_length: int = option(16, count(1, 4096))  # Side of such a square, in pixels.
    # Mixup: lam ~ Beta(alpha, alpha), one draw for each batch; 0 disables it.
    mixup_alpha: float = option(0.0, within(0, 1e6))
    # CutMix: lam ~ Beta(alpha, alpha), one draw for each sample; 0 disables it.
    cutmix_alpha: float = option(0.0, within(0, 1e6))
    cutmix_p: float = option(0.5, within(0, 1))  # Probability of CutMix for a sample.
    # If Mixup and CutMix are both enabled, a batch gets CutMix with this probability, else Mixup.
    cutmix_share: float = option(0.5, within(0, 1))


@dataclass(frozen=True)
class OptimConfig:
    """The optimiser, its schedule, and what it trains."""

    name: Literal["adamw", "sgd"] = "adamw"  # AdamW, or SGD with momentum, both as in PyTorch.
    lr: float = option(1e-3, positive)  # Peak learning rate.
    # Weight decay; multiplied by the learning rate. AdamW's is decoupled; SGD's is added to the
    # gradient, before the momentum. None, which needs --data.cache-features, tries several and
    # takes that of the lowest validation loss.
    weight_decay: float | None = option(0.01, within(0, 1e6))
    # Decay of the gradient's running mean.
    b1: float = option(0.9, within(0, 1, closed=False))
    # Decay of the squared gradient's running mean.
    b2: float = option(0.999, within(0, 1, closed=False))
    eps: float = option(1e-8, positive)  # Added to the root of the second moment.
    momentum: float = option(0.9, within(0, 1, closed=False))  # Of SGD; 0 for none.
    nesterov: bool = False  # Nesterov's momentum for SGD.
    # cosine ends at 0; step multiplies the rate by gamma every few epochs or steps.
    schedule: Literal["constant", "cosine", "step"] = "constant"
    gamma: float = option(0.7, within(0, 1), positive)  # Factor of --optim.schedule step.
    # Epochs between two such factors.
    step_every_epochs: int | None = option(None, count(1, 10**6))
    # Steps between two such factors.
    step_every_steps: int | None = option(None, count(1, 10**9))
    # Warm-up: the fraction of the steps over which the rate rises linearly from 0.
    warmup: float = option(0.0, within(0, 1))
    # Warm-up as a number of steps, which overrides the fraction.
    warmup_steps: int | None = option(None, count(0, 10**9))
    # Limit on the gradient's global norm; 0 disables clipping.
    clip_norm: float = option(0.0, within(0, 1e6))
    # all: every parameter decays, as in the lab; matrices: biases, norms, the class token and the
    # positional embedding do not.
    decay: Literal["all", "matrices"] | None = "all"
    # Decay of the parameters' running average, used for evaluation; 0 disables it.
    ema_decay: float = option(0.0, within(0, 1, closed=False))
    # Layer-wise rates: factor between the rates of a layer and of the layer above it. The norm and
    # the head have the rate itself, and the embeddings the lowest one.
    layer_decay: float = option(1.0, within(0, 1), positive)
    # The head's rate, as a multiple of the rate.
    head_lr: float = option(1.0, positive)
    # What is not trained: none; backbone (all but the head); or, as "6 layers", the embeddings and
    # the first 6 layers.
    freeze: str = option("none", part_to_freeze)

    def check(self) -> None:
        require(
            not self.nesterov or (self.name == "sgd" and self.momentum > 0),
            "--optim.nesterov is a form of SGD's momentum: add --optim.name sgd and a "
            "--optim.momentum above 0",
        )
        require(
            self.schedule != "step"
            or (self.step_every_epochs is None) != (self.step_every_steps is None),
            "--optim.schedule step needs either --optim.step-every-epochs N or "
            "--optim.step-every-steps N: give exactly one of them",
        )


@dataclass(frozen=True)
class ParallelConfig:
    """How the step is spread over devices."""

    mode: Literal["jit", "pmap"] = "jit"  # jit over a mesh, or pmap, for one process only.
    # Shard parameters, averages and optimiser state over the devices, and gather the parameters in
    # each step: less memory on each device, more communication in each step.
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
    """Which checkpoints are written and kept."""

    # Steps between two checkpoints beside those that validation writes; 0 disables these.
    every_steps: int = option(0, count(0, 10**9), may_change=True)
    # Number of the latest checkpoints that are kept, beside the best.
    keep: int = option(2, count(1, 10**6), may_change=True)
    # Number of the best checkpoints that are kept, by validation.
    keep_best: int = option(1, count(1, 10**6), may_change=True)


@dataclass(frozen=True)
class Config:
    """Train a Vision Transformer."""

    # Determines initialisation, order, augmentation and dropout.
    seed: int = option(0, within(0, 2**32 - 1))
    # Passes over the training split; None chooses by the number of images.
    epochs: int | None = option(10, count(1, 10**6))
    # Epochs between two validations, each of which also saves a checkpoint; the last is always
    # validated. None chooses by the number of images: at least eight steps.
    val_every_epochs: int | None = option(1, count(1, 10**6))
    # Images in a step, over all devices; None chooses by the number of images.
    batch_size: int | None = option(32, count(1, 2**20))
    # Micro-batches of a batch, computed one after the other: less memory, the same update.
    grad_accum_steps: int = option(1, count(1, 2**20))
    # eps: targets are (1 - eps) one-hot + eps / K, for K classes.
    label_smoothing: float = option(0.1, within(0, 1, closed=False))
    # Classes count alike in the loss, whatever their numbers of images: an example of class k of K
    # has the weight N / (K n_k), for n_k of N training images.
    class_balanced: bool = False
    out: str = option("runs/run", directory, may_change=True)  # Where the run is written.
    # The state that is scored on the test split and used: that of the best validation, or the last.
    # None chooses by the number of validation images: the best of a few is mostly chance.
    select: Literal["best", "last"] | None = "best"
    # Fail if there is no run to resume. An unfinished run is resumed without this option, too.
    resume: bool = option(False, may_change=True)
    # Replace an existing run.
    overwrite: bool = option(False, may_change=True)
    # Give a finished run more epochs: --epochs is the new total. The schedule continues as that of
    # the larger number, so the result is not that of a fresh run.
    extend: bool = option(False, may_change=True)
    log_every_steps: int = option(10, count(1, 10**9))  # Steps between two lines in metrics.jsonl.
    # Cache compiled programs in data.cache_dir: the same command starts faster the next time. A run
    # of several processes does not cache them.
    keep_programs: bool = option(True, may_change=True)
    # On a CPU under Linux, keep freed memory in the process instead of returning it after each
    # step: faster if a step needs more than 64 MiB, slower if it needs less.
    keep_memory: bool = option(False, may_change=True)
    # Where the images come from.
    data: DataConfig = field(default_factory=DataConfig)
    # The Vision Transformer.
    model: ModelConfig = field(default_factory=ModelConfig)
    # Where training starts from.
    init: InitConfig = field(default_factory=InitConfig)
    # Augmentation in the compiled step.
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    # The optimiser, its schedule, and what it trains.
    optim: OptimConfig = field(default_factory=OptimConfig)
    # How the step is spread over devices.
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    # What is kept of a run.
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    # How this process finds the others.
    distributed: DistributedConfig = field(default_factory=DistributedConfig)

    @property
    def follows_images(self) -> bool:
        """Whether an option is None that the number of images determines."""
        model, optim = self.model, self.optim
        return None in (
            self.epochs,
            self.batch_size,
            self.val_every_epochs,
            self.select,
            model.embed_dim,
            model.num_heads,
            model.init,
            optim.decay,
        )

    def check(self) -> None:
        require(
            self.model.in_channels in (None, self.data.channels),
            f"--model.in-channels {self.model.in_channels} does not fit --data.name "
            f"{self.data.name}, whose images have {self.data.channels}: set it to "
            f"{self.data.channels}",
        )
        require(
            self.data.stored_scale == 1 or self.augment.crop_scale != (1.0, 1.0),
            f"--data.stored-scale {self.data.stored_scale:g} is of use only to random crops: give "
            "--augment.crop-scale LOW HIGH too, or leave it out",
        )
        augment = self.augment
        drawn = (
            augment.crop_scale != (1.0, 1.0), augment.flip_p, augment.cutout_holes,
            augment.mixup_alpha, augment.cutmix_alpha,
        )  # fmt: skip
        require(
            not self.data.cache_features or not any(drawn),
            "--data.cache-features computes the features of each image once, so it goes without "
            "augmentation: leave it out, or every --augment option",
        )
        require(
            not self.data.cache_features or self.optim.freeze == "backbone",
            "--data.cache-features needs --optim.freeze backbone: features that are trained change",
        )
        require(
            not self.data.cache_features or self.init.weights is not None,
            "--data.cache-features needs pretrained weights: give --init.weights PATH",
        )
        require(
            self.optim.weight_decay is not None or self.data.cache_features,
            "--optim.weight-decay None tries several, which needs --data.cache-features: give a "
            "number",
        )
        layers = frozen_layers(self.optim.freeze)
        require(
            None in (layers, self.model.num_layers) or layers <= self.model.num_layers,
            f"--optim.freeze {self.optim.freeze!r} is more than the model has: at most "
            f'"{self.model.num_layers} layers", which leaves the last norm and the head',
        )
        require(
            self.resume + self.overwrite + self.extend <= 1,
            "--resume keeps the run that is there, --overwrite removes it and --extend gives it "
            "more epochs: give only one of them",
        )
        require(
            self.batch_size is None or self.batch_size % self.grad_accum_steps == 0,
            f"--batch-size {self.batch_size} cannot be split into --grad-accum-steps "
            f"{self.grad_accum_steps} equal parts: choose a multiple of {self.grad_accum_steps}",
        )
        out = user_path("out", self.out).resolve()
        require(
            bool(out.name), f"--out {self.out} is no place for a run: give a directory below it"
        )
        local = self.init.weights and not self.init.weights.startswith("hf://")
        for name, value in {
            "data.dir": self.data.dir,
            "data.cache-dir": self.data.cache_dir,
            "init.weights": self.init.weights if local else None,
        }.items():
            require(
                value is None or not user_path(name, value).resolve().is_relative_to(out),
                f"--{name} {value} lies in --out {self.out}, which holds the run alone: choose "
                "another place for one of them",
            )
        if self.data.name == "folder":
            images = user_path("data.dir", self.data.dir).resolve()
            for name, value in {"out": self.out, "data.cache-dir": self.data.cache_dir}.items():
                require(
                    not user_path(name, value).resolve().is_relative_to(images),
                    f"--{name} {value} lies in --data.dir {self.data.dir}, where it would be taken "
                    "for a class: choose another directory",
                )


def nearest_multiple(value: int, of: int) -> int:
    """The multiple of `of`, at least `of`, that is closest to value."""
    return max(1, round(value / of)) * of


def check(config: Any, prefix: str = "") -> None:
    """Checks every option, before data is read or a program is compiled.

    Each field's own checks come first, then those of its class, which relate fields to each other.

    Args:
      config: one of the dataclasses of this module.
      prefix: of the option names in messages, such as "data.".

    Raises:
      UserError: a value cannot work; the message names the option, its value, the limit and a
        remedy.
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
    """The inverse of dataclasses.asdict, also after JSON, which turns tuples into lists.

    Args:
      cls: the dataclass to build.
      values: nested dicts by field name.

    Raises:
      TypeError: a field is unknown.
    """
    kinds = {field.name: field.type for field in fields(cls)}
    made = {}
    for name, value in values.items():
        if is_dataclass(kinds.get(name)):
            value = config_from_dict(kinds[name], value)
        made[name] = tuple(value) if isinstance(value, list) else value
    return cls(**made)
