"""Every option of a run."""

from dataclasses import dataclass, field
from typing import Literal

from jaxvit.config.augment import AugmentConfig
from jaxvit.config.checkpoint import CheckpointConfig
from jaxvit.config.checks import count, directory, not_empty, option, require, within
from jaxvit.config.data import DataConfig
from jaxvit.config.diffusion import DiffusionConfig
from jaxvit.config.distributed import DistributedConfig
from jaxvit.config.init import InitConfig
from jaxvit.config.instance import InstanceConfig
from jaxvit.config.method import check_method
from jaxvit.config.model import ModelConfig
from jaxvit.config.optim import OptimConfig, frozen_layers
from jaxvit.config.parallel import ParallelConfig
from jaxvit.config.stop import StopConfig
from jaxvit.config.track import TrackConfig
from jaxvit.paths import user_path


@dataclass(frozen=True)
class Config:
    """Train a Vision Transformer, a ResNet, or a network that makes images."""

    # What is learnt. classification: the classes of the images. instance_discrimination: to tell
    # each training image from all others by its views, without labels; for features. gan and
    # diffusion: to make images like those of the training split.
    method: Literal["classification", "instance_discrimination", "gan", "diffusion"] = (
        "classification"
    )
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
    # The validation metric by which states are compared: which is best, when training ends early,
    # and when the rate of a plateau drops. None is the method's own: accuracy for classification,
    # knn_accuracy for instance discrimination, kernel_distance for gan, loss for diffusion.
    monitor: str | None = option(None, not_empty)
    # Look for a learning rate to begin with, and do not train: 100 steps at rising rates.
    find_lr: bool = option(False, may_change=True)
    # Fail if there is no run to resume. An unfinished run is resumed without this option, too.
    resume: bool = option(False, may_change=True)
    # Replace an existing run.
    overwrite: bool = option(False, may_change=True)
    # Give a finished run more epochs: --epochs is the new total. The schedule continues as that of
    # the larger number, so the result is not that of a fresh run. --stop.patience and
    # --stop.min-delta may be others.
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
    # The model.
    model: ModelConfig = field(default_factory=ModelConfig)
    # Where training starts from.
    init: InitConfig = field(default_factory=InitConfig)
    # Augmentation in the compiled step.
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    # Views and losses of instance discrimination.
    instance: InstanceConfig = field(default_factory=InstanceConfig)
    # Noise and samples of diffusion.
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    # The optimiser, its schedule, and what it trains.
    optim: OptimConfig = field(default_factory=OptimConfig)
    # When training ends before its last epoch.
    stop: StopConfig = field(default_factory=StopConfig)
    # How the step is spread over devices.
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    # What is kept of a run.
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    # Where the values of a run go beside its directory and TensorBoard.
    track: TrackConfig = field(default_factory=TrackConfig)
    # How this process finds the others.
    distributed: DistributedConfig = field(default_factory=DistributedConfig)

    @property
    def follows_images(self) -> bool:
        """Whether an option is None that the number of images determines."""
        model, optim = self.model, self.optim
        of_model = (model.embed_dim, model.num_heads, model.init) if model.is_vit else ()
        of_run = (self.epochs, self.batch_size, self.val_every_epochs, self.select, optim.decay)
        return None in (*of_run, *of_model)

    @property
    def has_head(self) -> bool:
        """Whether the run leaves a classifier; otherwise it leaves features, or makes images."""
        return self.method == "classification"

    @property
    def makes_images(self) -> bool:
        """Whether the run leaves a network that makes images."""
        return self.method in ("gan", "diffusion")

    def check(self) -> None:
        check_method(self)
        require(
            self.model.in_channels in (None, self.data.channels),
            f"--model.in-channels {self.model.in_channels} does not fit --data.name "
            f"{self.data.name}, whose images have {self.data.channels}: set it to "
            f"{self.data.channels}",
        )
        require(
            self.data.stored_scale == 1 or self.augment.crop_scale != (1.0, 1.0),
            f"--data.stored-scale {self.data.stored_scale:g} is of use only to random crops: give "
            "--augment.crop-scale LOW HIGH too, or --data.stored-scale 1",
        )
        require(
            not (self.stop.patience and self.optim.swa_start),
            f"--stop.patience {self.stop.patience} could end the run before stochastic weight "
            f"averaging begins (--optim.swa-start {self.optim.swa_start:g}): set one of them to 0",
        )
        augment, size = self.augment, self.model.img_size
        side = f"--model.img-size {size}"
        smaller = self.instance.small_size
        if self.instance.small_views and smaller is not None and (size is None or smaller < size):
            size, side = smaller, f"--instance.small-size {smaller}"
        require(
            size is None or augment.pad < size,
            f"--augment.pad {augment.pad} can move the whole image out of sight: it must be less "
            f"than {side}",
        )
        require(
            size is None or augment.blur_p == 0 or augment.blur_kernel // 2 < size,
            f"--augment.blur-kernel {augment.blur_kernel} is wider than two images: it must be "
            f"less than twice {side}",
        )
        for name in ("saturation", "hue", "grey_p"):
            value = getattr(augment, name)
            require(
                value == 0 or self.data.channels != 1,
                f"--augment.{name.replace('_', '-')} {value:g} changes colours, and the images of "
                f"--data.name {self.data.name} have none: set it to 0",
            )
        require(
            not self.data.cache_features or not augment.enabled,
            "--data.cache-features computes the features of each image once, so it goes without "
            "augmentation: leave it out, or every --augment option",
        )
        require(
            not self.data.cache_features or self.optim.freeze == "backbone",
            "--data.cache-features needs --optim.freeze backbone: features that are trained change",
        )
        require(
            not self.data.cache_features or self.init.weights is not None,
            "--data.cache-features, which the preset probe sets, needs pretrained weights: give "
            "--init.weights PATH, such as a .safetensors file, a run, or hf://OWNER/NAME "
            "(docs/finetune.md says where from)",
        )
        require(
            not self.data.cache_features or not self.model.drops,
            "--data.cache-features computes the features of each image once, without dropout: set "
            "every dropout rate and --model.drop-path to 0, or leave it out",
        )
        require(
            self.init.layout is None or self.init.weights is not None,
            f"--init.layout {self.init.layout} is that of pretrained weights: give --init.weights "
            "PATH too, or leave it out",
        )
        require(
            not self.init.weights_option or self.init.weights is not None,
            f"--init.weights-option {' '.join(self.init.weights_option)} is of pretrained weights: "
            "give --init.weights PATH too, or leave it out",
        )
        require(
            self.optim.weight_decay is not None or self.data.cache_features,
            "--optim.weight-decay None tries several, which needs --data.cache-features: give a "
            "number",
        )
        require(
            not self.data.cache_features or self.model.attention == "none",
            f"--model.attention {self.model.attention} sees the feature map, and "
            "--data.cache-features keeps its mean: choose the preset finetune with --optim.freeze "
            "backbone",
        )
        layers = frozen_layers(self.optim.freeze)
        require(
            layers is None or self.model.is_vit,
            f"--optim.freeze {self.optim.freeze!r} counts the layers of a Vision Transformer, and "
            f"--model.name {self.model.name} normalises over the batch in each: give backbone or "
            "none",
        )
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
        for name, value in (
            ("data.dir", self.data.dir),
            ("data.cache-dir", self.data.cache_dir),
            ("init.weights", self.init.weights if local else None),
            *(("data.extra-dir", place) for place in self.data.extra_dir),
        ):
            require(
                value is None or not user_path(name, value).resolve().is_relative_to(out),
                f"--{name} {value} lies in --out {self.out}, which holds the run alone: choose "
                "another place for one of them",
            )
        extra = [("data.extra-dir", place) for place in self.data.extra_dir]
        written = [("out", self.out), ("data.cache-dir", self.data.cache_dir)]
        folders = [(*each, written) for each in extra]
        if self.data.name == "folder":
            folders.append(("data.dir", self.data.dir, [*written, *extra]))
        for holder, place, others in folders:
            images = user_path(holder, place).resolve()
            for name, value in others:
                require(
                    not user_path(name, value).resolve().is_relative_to(images),
                    f"--{name} {value} lies in --{holder} {place}, where it would be taken for a "
                    "class: choose another directory",
                )
