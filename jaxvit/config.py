"""Every choice a run makes, as frozen dataclasses; and the presets.

The command line is made from these classes (`--model.embed-dim` is `Config.model.embed_dim`), and
the comment above or behind a field is its help text. Where a preset says nothing, the lab's numbers
hold: ViT-B/16, PyTorch's AdamW, no augmentation.
"""

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Literal

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class UserError(ValueError):
    """A mistake the user can mend; its message is one line: the value, the limit, the way out."""


@dataclass(frozen=True)
class DataConfig:
    """Where the images come from."""

    # digits (embedded), oxford_iiit_pet (TFDS or the original files), folder (DIR/<class>/*.jpg).
    name: Literal["digits", "oxford_iiit_pet", "folder"] = "digits"
    # The data set's directory; for oxford_iiit_pet without one, TFDS's own.
    dir: str | None = None
    # Where decoded images are kept, memory-mapped, one directory for each source and size; and
    # compiled programs.
    cache_dir: str = "~/.cache/jaxvit"
    # Share of each class held out for validation where the source has no validation split.
    val_fraction: float = 0.1
    # Seeds the train/validation split; not --seed, so that seeds are compared on one split.
    split_seed: int = 0
    # Per-channel mean of pixels in [0, 1].
    mean: tuple[float, ...] = IMAGENET_MEAN
    # Per-channel standard deviation of pixels in [0, 1].
    std: tuple[float, ...] = IMAGENET_STD
    # What an image that cannot be read does: stop the run, or be skipped and counted.
    on_error: Literal["stop", "skip"] = "stop"
    # Threads that decode images; 0 means one for each core.
    decode_threads: int = 0
    # Batches placed on the device before they are asked for.
    prefetch_batches: int = 2


@dataclass(frozen=True)
class ModelConfig:
    """The Vision Transformer."""

    img_size: int = 224  # Height and width of the square input, in pixels.
    patch_size: int = 16  # Side of a patch, in pixels; divides img_size.
    in_channels: int = 3  # 3 for RGB, 1 for digits.
    embed_dim: int = 768  # Width D of a token.
    num_heads: int = 12  # Attention heads; divides embed_dim.
    num_layers: int = 12  # Encoder layers.
    mlp_ratio: float = 4.0  # Hidden width of the MLP, in embed_dims.
    dropout: float = 0.1  # Dropout rate inside the MLP, in [0, 1).
    # Matrix products in this type; all else stays float32. On a recent NVIDIA GPU float32 products
    # run in TF32 unless JAX_DEFAULT_MATMUL_PRECISION=highest is set.
    dtype: Literal["float32", "bfloat16"] = "float32"
    # Recompute each layer in the backward pass: less memory, about a third more time.
    remat: bool = False
    # torch: PyTorch's defaults, the lab's; vit: Xavier, with zero biases and head.
    init: Literal["torch", "vit"] = "torch"


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentation in the compiled step."""

    # Area of the random resized crop, as a range of shares of the image; 1 1 turns it off.
    crop_scale: tuple[float, float] = (1.0, 1.0)
    # Range of the crop's width over its height.
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_p: float = 0.0  # Probability of a horizontal flip.
    cutout_holes: int = 0  # Squares cut from each image and filled with the mean colour.
    cutout_length: int = 16  # Side of such a square, in pixels.
    mixup_alpha: float = 0.0  # lam ~ Beta(alpha, alpha), one a batch; 0 turns Mixup off.
    cutmix_alpha: float = 0.0  # lam ~ Beta(alpha, alpha), one a sample; 0 turns CutMix off.
    cutmix_p: float = 0.5  # Probability that CutMix touches a sample.
    # With Mixup and CutMix both on, each batch gets one of them: CutMix with this probability.
    cutmix_share: float = 0.5


@dataclass(frozen=True)
class OptimConfig:
    """AdamW."""

    lr: float = 1e-3  # Peak learning rate.
    weight_decay: float = 0.01  # Decoupled weight decay; multiplied by the learning rate.
    b1: float = 0.9  # Decay of the gradient's running mean.
    b2: float = 0.999  # Decay of the squared gradient's running mean.
    eps: float = 1e-8  # Added to the root of the second moment.
    schedule: Literal["constant", "cosine"] = "constant"  # cosine ends at 0.
    warmup_steps: int = 0  # Steps over which the rate rises linearly from 0.
    clip_norm: float = 0.0  # Limit on the gradient's global norm; 0 turns it off.
    # all: as the lab; matrices: spare biases, norms, the class token and the positions.
    decay: Literal["all", "matrices"] = "all"
    # Decay of the parameters' running average, used for evaluation; 0 turns it off.
    ema_decay: float = 0.0


@dataclass(frozen=True)
class ParallelConfig:
    """How the step is spread over devices."""

    mode: Literal["jit", "pmap"] = "jit"  # jit over a mesh, or pmap, which serves one process.
    # Cut parameters, averages and optimiser state over the devices, and gather the parameters in
    # each step: the state takes less memory on each, and steps more communication.
    shard_params: bool = False


@dataclass(frozen=True)
class DistributedConfig:
    """How this process finds the others; under Slurm and on a TPU pod JAX knows by itself."""

    coordinator: str | None = None  # HOST:PORT of process 0, the same in every process.
    num_processes: int | None = None  # How many processes there are.
    process_id: int | None = None  # Which of them this is, from 0.


@dataclass(frozen=True)
class CheckpointConfig:
    """What is kept, so that a run can go on and the best state be found again."""

    every_steps: int = 0  # Steps between two checkpoints; there is always one at an epoch's end.
    keep: int = 2  # How many of the latest to keep, beside the best.


@dataclass(frozen=True)
class Config:
    """Train a Vision Transformer."""

    seed: int = 0  # Fixes initialisation, order, augmentation and dropout.
    epochs: int = 10  # Passes over the training split.
    batch_size: int = 32  # Images a step, over all devices.
    # Parts into which each batch is cut, one after the other: less memory, the same step.
    grad_accum_steps: int = 1
    # y' = y (1 - eps) + eps / K, eps in [0, 1). Validation and test losses are never smoothed.
    label_smoothing: float = 0.1
    out: str = "runs/jaxvit"  # Run directory; runs/PRESET when not given.
    overwrite: bool = False  # Replace a run that is already there.
    # Insist that --out holds an unfinished run. Without it, one is resumed if it is there.
    resume: bool = False
    log_every_steps: int = 10  # Steps between two lines in metrics.jsonl.
    # Keep compiled programs in data.cache_dir: the same command starts sooner the next time. With
    # many processes they are not kept.
    keep_programs: bool = True
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    distributed: DistributedConfig = field(default_factory=DistributedConfig)


PETS = DataConfig(name="oxford_iiit_pet")

PRESETS: dict[str, Config] = {
    # Learns scikit-learn's 8x8 digits on two CPU cores in about a minute; needs no download.
    "digits": Config(
        out="runs/digits",
        epochs=70,
        batch_size=64,
        data=DataConfig(name="digits", val_fraction=0.15, mean=(0.305,), std=(0.376,)),
        model=ModelConfig(
            img_size=8,
            patch_size=2,
            in_channels=1,
            embed_dim=64,
            num_heads=4,
            num_layers=3,
            dropout=0.0,
        ),
        augment=AugmentConfig(crop_scale=(0.75, 1.0), crop_ratio=(0.8, 1.25), mixup_alpha=0.2),
        optim=OptimConfig(
            lr=4e-3,
            weight_decay=0.05,
            schedule="cosine",
            warmup_steps=100,
            clip_norm=1.0,
            ema_decay=0.98,
        ),
    ),
    # The lab's numbers exactly: ViT-B/16 at 224, AdamW with PyTorch's defaults, smoothing .1.
    "pets-lab": Config(out="runs/pets-lab", data=PETS),
    # Learns Pets at 64 pixels on two CPU cores within ten minutes.
    "pets-small": Config(
        out="runs/pets-small",
        epochs=40,
        batch_size=64,
        data=PETS,
        model=ModelConfig(
            img_size=64, patch_size=8, embed_dim=128, num_heads=4, num_layers=4, dropout=0.0
        ),
        augment=AugmentConfig(crop_scale=(0.4, 1.0), flip_p=0.5, mixup_alpha=0.2, cutmix_alpha=1.0),
        optim=OptimConfig(
            lr=1e-3, weight_decay=0.05, schedule="cosine", warmup_steps=100, clip_norm=1.0
        ),
    ),
}


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


def preset(name: str) -> Config:
    """The named preset.

    Raises:
      UserError: there is no such preset.
    """
    if name not in PRESETS:
        raise UserError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
