"""Which options fit the method of a run."""

from typing import Any

from jaxvit.config.checks import nearest_multiple, require
from jaxvit.config.instance import InstanceConfig


def check_method(config: Any) -> None:
    """Raises UserError for an option of a jaxvit.config.Config that its method does not have."""
    if config.method == "classification":
        require(
            config.data.labels,
            "--data.no-labels leaves no classes to learn: leave it out, or give --method "
            "instance_discrimination",
        )
        require(
            config.instance == InstanceConfig(),
            "--instance options are of --method instance_discrimination: leave them out, or give "
            "that method",
        )
        return
    method = f"--method {config.method}"
    model, augment, instance = config.model, config.augment, config.instance
    require(
        model.is_vit,
        f"{method} trains a Vision Transformer, and --model.name is {model.name}: give vit",
    )
    for option, value, off in (
        ("class-balanced", config.class_balanced, False),
        ("data.cache-features", config.data.cache_features, False),
        ("optim.freeze", config.optim.freeze, "none"),
        ("optim.layer-decay", config.optim.layer_decay, 1.0),
        ("optim.head-lr", config.optim.head_lr, 1.0),
        ("find-lr", config.find_lr, False),
    ):
        require(
            value == off,
            f"--{option} {value} is of classification, and this is {method}: set it to {off}",
        )
    mixes = augment.mixup_alpha > 0 or (augment.cutmix_alpha > 0 and augment.cutmix_p > 0)
    require(
        instance.contrastive_weight == 0 or not mixes,
        f"--instance.contrastive-weight {instance.contrastive_weight:g} compares views of one "
        "image, and Mixup and CutMix mix several: set it, or --augment.mixup-alpha and "
        "--augment.cutmix-alpha, to 0",
    )
    require(
        instance.small_views == 0 or instance.instance_weight > 0,
        f"--instance.small-views {instance.small_views} is of no use with "
        "--instance.instance-weight 0: the contrastive loss sees the first two views",
    )
    data = config.data
    require(
        data.stored_scale == 1
        or (data.resize in (None, "squash") and data.crop_share in (None, 1)),
        f"--data.stored-scale {data.stored_scale:g} stores whole images, and --data.resize "
        f"{data.resize} with --data.crop-share {data.crop_share} scores parts of them, whose "
        f"features cannot be compared: for {method} give squash and 1, or a scale of 1",
    )
    size = instance.small_size
    require(
        None in (size, model.patch_size) or size % model.patch_size == 0,
        f"--instance.small-size {size} is not divisible by --model.patch-size {model.patch_size}: "
        f"choose a multiple, such as {nearest_multiple(size or 1, model.patch_size or 1)}",
    )
