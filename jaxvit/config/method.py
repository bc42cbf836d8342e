"""Which options fit the method of a run."""

from typing import Any

from jaxvit.config.checks import nearest_multiple, require
from jaxvit.config.diffusion import DiffusionConfig
from jaxvit.config.instance import InstanceConfig

MODELS = {"gan": "dcgan", "diffusion": "unet"}  # of the methods that make images


def check_method(config: Any) -> None:
    """Raises UserError for an option of a jaxvit.config.Config that its method does not have."""
    method = f"--method {config.method}"
    for of, options, default in (
        ("instance_discrimination", config.instance, InstanceConfig()),
        ("diffusion", config.diffusion, DiffusionConfig()),
    ):
        group = of.partition("_")[0]
        require(
            config.method == of or options == default,
            f"--{group} options are of --method {of}, and this is {config.method}: leave them out, "
            "or give that method",
        )
    require(
        config.makes_images or not config.model.is_generator,
        f"--model.name {config.model.name} makes images, which {method} does not: give --method "
        f"{'gan' if config.model.name == 'dcgan' else 'diffusion'}",
    )
    if config.method == "classification":
        require(
            config.data.labels,
            "--data.no-labels leaves no classes to learn: leave it out, or give --method "
            "instance_discrimination",
        )
        return
    for option, value, off in (
        ("class-balanced", config.class_balanced, False),
        ("data.cache-features", config.data.cache_features, False),
        ("optim.freeze", config.optim.freeze, "none"),
        ("optim.layer-decay", config.optim.layer_decay, 1.0),
        ("optim.head-lr", config.optim.head_lr, 1.0),
    ):
        require(
            value == off,
            f"--{option} {value} is of classification, and this is {method}: "
            + ("leave it out" if off is False else f"set it to {off}"),
        )
    require(
        config.method != "gan" or not config.find_lr,
        f"--find-lr follows one loss, and {method} has two networks with a loss each: leave it out",
    )
    if config.makes_images:
        _check_generation(config, method)
    else:
        _check_instance_discrimination(config, method)


def _check_instance_discrimination(config: Any, method: str) -> None:
    model, augment, instance = config.model, config.augment, config.instance
    require(
        model.is_vit,
        f"{method} trains a Vision Transformer, and --model.name is {model.name}: give vit",
    )
    require(
        instance.contrastive_weight == 0 or not (augment.mixes or augment.cuts),
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


def _check_generation(config: Any, method: str) -> None:
    model, augment, data = config.model, config.augment, config.data
    wanted = MODELS[config.method]
    require(
        model.name == wanted,
        f"{method} trains a {wanted}, and --model.name is {model.name}: give {wanted}, or choose "
        f"the preset digits-{'dcgan' if wanted == 'dcgan' else 'ddpm'}",
    )
    require(
        not model.conditional or data.labels,
        "--model.conditional makes images for a class, and --data.no-labels leaves none: give one "
        "of them",
    )
    for option, value, off in (
        ("label-smoothing", config.label_smoothing, 0.0),
        ("init.weights", config.init.weights, None),
        ("augment.mixup-alpha", augment.mixup_alpha, 0.0),
        ("augment.cutmix-alpha", augment.cutmix_alpha, 0.0),
        ("augment.cutout-holes", augment.cutout_holes, 0),
    ):
        require(
            value == off,
            f"--{option} {value} does not fit {method}, which would learn to make such images: "
            "leave it out"
            if option.startswith("augment")
            else f"--{option} {value} does not fit {method}: set it to {off}",
        )
    for option in ("mean", "std"):
        values = getattr(data, option)
        require(
            values is None or set(values) == {0.5},
            f"--data.{option} must be .5 for {method}, whose images lie in [-1, 1]: give .5 for "
            "each channel",
        )
    guided = config.diffusion.guidance != 1
    require(
        not guided or (model.conditional and config.diffusion.hide_class > 0),
        f"--diffusion.guidance {config.diffusion.guidance:g} compares the noise of a class with "
        "that of none: give --model.conditional and --diffusion.hide-class above 0, or 1",
    )
