"""Every option of a run, as frozen dataclasses whose fields carry their checks.

The command line is generated from these classes (`--model.embed-dim` is `Config.model.embed_dim`),
and the comment above or behind a field is its help text. The defaults are the lab's values:
ViT-B/16, PyTorch's AdamW, no augmentation. A preset (jaxvit.presets) replaces some of them.
"""

from jaxvit.config.augment import AugmentConfig
from jaxvit.config.checkpoint import CheckpointConfig
from jaxvit.config.checks import (
    count,
    directory,
    nearest_multiple,
    option,
    require,
    within,
)
from jaxvit.config.data import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    DataConfig,
)
from jaxvit.config.diffusion import DiffusionConfig
from jaxvit.config.distributed import DistributedConfig
from jaxvit.config.init import InitConfig
from jaxvit.config.instance import InstanceConfig
from jaxvit.config.model import (
    OF_BLOCK,
    OF_DCGAN,
    OF_RESNET,
    OF_UNET,
    ModelConfig,
    foreign_options,
    map_channels,
    map_size,
    without_foreign_options,
)
from jaxvit.config.optim import OptimConfig, frozen_layers
from jaxvit.config.parallel import ParallelConfig
from jaxvit.config.run import Config
from jaxvit.config.stop import StopConfig
from jaxvit.config.track import TrackConfig
from jaxvit.config.tree import as_json, check, config_from_dict, flat, is_flag, may_change

__all__ = [
    "AugmentConfig",
    "CIFAR10_MEAN",
    "CIFAR10_STD",
    "CheckpointConfig",
    "Config",
    "DataConfig",
    "DiffusionConfig",
    "DistributedConfig",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "InitConfig",
    "InstanceConfig",
    "ModelConfig",
    "OF_BLOCK",
    "OF_DCGAN",
    "OF_RESNET",
    "OF_UNET",
    "OptimConfig",
    "ParallelConfig",
    "StopConfig",
    "TrackConfig",
    "as_json",
    "check",
    "config_from_dict",
    "count",
    "directory",
    "flat",
    "foreign_options",
    "is_flag",
    "frozen_layers",
    "map_channels",
    "map_size",
    "may_change",
    "nearest_multiple",
    "option",
    "require",
    "within",
    "without_foreign_options",
]
