"""The configuration of a run that starts from pretrained weights: the model is theirs."""

from dataclasses import replace
from pathlib import Path

from jaxvit.config import OF_BLOCK, Config, ModelConfig, without_foreign_options
from jaxvit.data.decoded import Dataset
from jaxvit.errors import UserError
from jaxvit.interop.hub import HUB
from jaxvit.interop.labelled import described
from jaxvit.interop.load import RUN, Pretrained, is_run, load_pretrained
from jaxvit.interop.settings import OF_MODEL, read_options

# Of ModelConfig: what the weights decide.
OF_ANY = ("name", "stem", "width", "in_channels")
OF_VIT = (
    "patch_size", "embed_dim", "num_heads", "num_layers", "mlp_ratio", "norm_eps", "gelu",
    "layer_scale", "register_tokens", "qkv_bias", "patch_norm",
)  # fmt: skip
LARGEST = 224  # pixels, of images where --model.img-size is not given: twice the side is 4 times


def load_backbone(config: Config, img_size: int | None = None) -> Pretrained:
    """The weights that config.init names, without their head."""
    init = config.init
    return load_pretrained(
        init.weights,
        num_classes=0,
        img_size=img_size,
        layout=init.layout,
        options=read_options(init.weights_option),
    )


def seen_before(config: Config, data: Dataset) -> str | None:
    """A warning where the run that training starts from was trained on images scored now, by name.

    Args:
      config: whose init.weights is a run, or other weights, of which nothing is known.
      data: its splits.
    """
    path = Path(config.init.weights).expanduser()
    if config.init.weights.startswith(HUB) or not is_run(path):
        return None
    # A folder for each split may hold other images under the names of training ones.
    trained = described(path, "train").keys() - set(data.train.names)
    for split in ("test", "val"):
        names = getattr(data, split).names
        if seen := sum(name in trained for name in names):
            return (
                f"warning: {seen} of the {len(names)} {split} images have names of images that "
                f"{config.init.weights} was trained on, so their score is too good: use one "
                "--data.split-seed, or train/, val/ and test/ folders"
            )
    return None


def follow_weights(config: Config) -> Config:
    """The configuration with every None filled in that its pretrained weights decide.

    The size of images is that of the weights, at most LARGEST, where none is given; another one
    resizes the positions.

    Raises:
      UserError: the weights cannot be read, a value that was given is another than theirs, or none
        are given where the preset starts from some.
    """
    if config.init.weights is None:
        _refuse_nothing_to_follow(config)
        return config
    found = load_backbone(config)
    theirs, ours = found.model_config.in_channels, config.data.channels
    if theirs != ours:
        raise UserError(
            f"the weights in {config.init.weights} take images of {theirs} channel(s), and those "
            f"of --data.name {config.data.name} have {ours}: choose other weights"
        )
    model, images = {}, {}
    vit = found.model_config.is_vit
    for name in (*OF_ANY, *(OF_VIT if vit or config.model.attention == "none" else ())):
        given, theirs = getattr(config.model, name), getattr(found.model_config, name)
        # The initial value of LayerScale is replaced by the weights: whether there is one counts.
        same = bool(given) == bool(theirs) if name == "layer_scale" else given == theirs
        if given is not None and not same:
            option = f"--model.{name.replace('_', '-')}"
            what, ways = "which are no ViT's", []
            if vit or name in OF_ANY:
                what, ways = f"which is {theirs}", [f"give {option} {theirs}"]
            if vit and name in OF_MODEL and found.layout != RUN:
                ways.append(f"give --init.weights-option {name}={given}")
            ways.append("choose the preset probe or finetune, which follow the weights")
            raise UserError(
                f"{option} {given} (given, or the preset's) is not that of the weights in "
                f"{config.init.weights}, {what}: {', or '.join(ways)}"
            )
        model[name] = theirs
    if config.model.img_size is None:
        patch = found.model_config.patch_size or 1
        largest = max(patch, LARGEST // patch * patch)
        model["img_size"] = min(found.model_config.img_size, largest)
    if vit:
        model["pool"] = config.model.pool or found.model_config.pool
    else:
        config = replace(config, model=without_foreign_options(config.model))
        _check_block(config.model)
    size = config.model.img_size or model["img_size"]
    if config.data.crop_share is None and size != found.model_config.img_size:
        found = load_backbone(config, size)  # a family's images are prepared by their size
    preprocessing = found.preprocessing
    for name, value in {
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "resize": preprocessing.geometry.resize,
        "crop_share": preprocessing.geometry.crop_share,
        "interpolation": preprocessing.geometry.interpolation,
    }.items():
        if getattr(config.data, name) is None:
            images[name] = value
    return replace(
        config, model=replace(config.model, **model), data=replace(config.data, **images)
    )


def _check_block(model: ModelConfig) -> None:
    """Raises UserError where an attention block is asked for without its size."""
    for name in OF_BLOCK if model.attention != "none" else ():
        if getattr(model, name) is None:
            raise UserError(
                f"--model.attention {model.attention} needs --model.{name.replace('_', '-')}, "
                "which no weights tell: give it, or choose the preset cifar10-graph"
            )


def _refuse_nothing_to_follow(config: Config) -> None:
    """Raises UserError where a value is None that only weights decide."""
    if config.model.name is None:
        raise UserError(
            "this preset starts from pretrained weights: give --init.weights PATH, such as a "
            ".safetensors file, a run, or hf://OWNER/NAME (docs/finetune.md says where from)"
        )
    of_vit = ("num_layers", "mlp_ratio", "norm_eps", "gelu", "layer_scale", "register_tokens",
              "qkv_bias", "patch_norm", "pool")  # fmt: skip
    of_model = of_vit if config.model.is_vit else ("stem",)
    if config.model.is_generator:
        of_model = ()
    values = {f"model.{name}": getattr(config.model, name) for name in of_model}
    for name in ("resize", "crop_share", "interpolation"):
        values[f"data.{name}"] = getattr(config.data, name)
    for name, value in values.items():
        if value is None:
            raise UserError(
                f"--{name.replace('_', '-')} is None, which follows pretrained weights: give "
                "--init.weights PATH, or a value"
            )
