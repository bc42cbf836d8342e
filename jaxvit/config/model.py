"""The model."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from jaxvit.config.checks import count, nearest_multiple, option, positive, require, within

DCGAN_SIZES = (8, 16, 32, 64, 128)  # pixels


def map_size(img_size: int, stem: str) -> int:
    """Height and width of a ResNet's last feature map: the image's, halved 3 or 5 times."""
    return -(-img_size // 2 ** (3 if stem == "cifar" else 5))


def map_channels(width: int) -> int:
    """Channels of a ResNet's last feature map: those of the first stage, doubled 3 times."""
    return 8 * width


@dataclass(frozen=True)
class ModelConfig:
    """The model."""

    # A Vision Transformer, which the options below describe; torchvision's ResNet-18 or -34, which
    # have img_size, in_channels, dtype, stem, width and attention alone; or what makes images: the
    # two networks of a DCGAN, or the U-Net of DDPM. None means that of the weights.
    name: Literal["vit", "resnet18", "resnet34", "dcgan", "unet"] | None = "vit"
    # Of a ResNet. imagenet: a 7 x 7 convolution and a maximum, which divide the size by 4; cifar:
    # a 3 x 3 convolution, for images of about 32 pixels. None means that of the weights.
    stem: Literal["imagenet", "cifar"] | None = "imagenet"
    # Of a ResNet: channels of the first of its four stages; each has twice those of the one before.
    # torchvision's have 64. Of a DCGAN or a U-Net: channels of the maps next to the image.
    width: int | None = option(64, count(1, 4096))
    # Of a ResNet: a block of attention between the patches of its last feature map, in place of
    # its head; then patch_size counts positions of that map. graph: the score of two patches is a
    # function of the sum of a number of each; classic: of the product of a query and a key.
    attention: Literal["none", "classic", "graph"] = "none"
    # Of a DCGAN: numbers that an image is made from.
    z_dim: int | None = option(100, count(1, 2**16))
    # Of a DCGAN or a U-Net: whether an image is made for a class.
    conditional: bool = False
    # Of a U-Net: channels of each level over width; each level has half the size of the one before.
    channel_multipliers: tuple[int, ...] | None = (1, 2, 2, 2)
    # Of a U-Net: residual blocks of each level.
    blocks: int | None = option(2, count(1, 100))
    # Of a U-Net: sides of the maps with attention between positions, besides the smallest map.
    attention_sizes: tuple[int, ...] | None = (16,)
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
    # Whether the values of a patch, and its token, are normalised, as in vit-pytorch.
    patch_norm: bool | None = False
    # What the head sees: the class token, the mean of the patches, or both side by side.
    pool: Literal["cls", "mean", "both"] | None = "cls"
    # Type of the matmuls; all else stays float32. On a recent NVIDIA GPU, float32 matmuls run in
    # TF32 unless JAX_DEFAULT_MATMUL_PRECISION=highest is set.
    dtype: Literal["float32", "bfloat16"] = "float32"
    # Recompute each layer in the backward pass: less memory, about a third more time.
    remat: bool = False
    # torch: PyTorch's defaults, as in the lab; vit: Xavier, with zero biases and a zero head.
    init: Literal["torch", "vit"] | None = "torch"

    @property
    def is_vit(self) -> bool:
        """Whether it is a Vision Transformer, as far as is known."""
        return self.name in (None, "vit")

    @property
    def is_generator(self) -> bool:
        """Whether it makes images."""
        return self.name in ("dcgan", "unet")

    @property
    def convolves(self) -> bool:
        """Whether its layers are convolutions; a DCGAN's are computed as matmuls."""
        return not self.is_vit and self.name != "dcgan"

    @property
    def drops(self) -> bool:
        """Whether something is drawn at random in training."""
        return any(
            (
                self.dropout,
                self.activation_dropout,
                self.attention_dropout,
                self.projection_dropout,
                self.embedding_dropout,
                self.drop_path,
            )
        )

    def check(self) -> None:
        require(
            self.attention == "none" or self.name != "vit",
            f"--model.attention {self.attention} is of a ResNet: give --model.name resnet18 too",
        )
        if self.is_generator:
            self._check_generator()
        if not self.is_vit and self.attention == "none":
            return
        if not self.is_vit and None not in (self.img_size, self.patch_size, self.stem):
            side = map_size(self.img_size, self.stem)
            require(
                side % self.patch_size == 0,
                f"--model.patch-size {self.patch_size} does not divide the {side} x {side} "
                f"positions of the feature map of --model.img-size {self.img_size}: give 1",
            )
        if self.is_vit and None not in (self.img_size, self.patch_size):
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

    def _check_generator(self) -> None:
        size, unet = self.img_size, self.name == "unet"
        for name in OF_UNET if unet else OF_DCGAN:
            require(
                getattr(self, name) is not None,
                f"--model.name {self.name} needs --model.{name.replace('_', '-')}: give it, or "
                f"choose the preset digits-{'ddpm' if unet else 'dcgan'}",
            )
        if size is not None and not unet:
            require(
                size in DCGAN_SIZES,
                f"--model.img-size {size} is no size of a DCGAN, which doubles 4 pixels: give one "
                f"of {', '.join(map(str, DCGAN_SIZES))}",
            )
        if not unet:
            return
        require(
            self.width % 4 == 0 and self.width % min(32, self.width // 4) == 0,
            f"--model.width {self.width} does not fit a U-Net, whose GroupNorm has groups of at "
            f"least 4 channels, 32 at most: give {nearest_multiple(self.width, 32)}",
        )
        for name in ("channel_multipliers", "attention_sizes"):
            for value in getattr(self, name):
                count(1, 4096)(f"model.{name.replace('_', '-')}", value)
        require(
            self.channel_multipliers != (),
            "--model.channel-multipliers is empty: give one number for each level",
        )
        levels = len(self.channel_multipliers)
        least = 2 ** (levels - 1)
        require(
            size is None or size % least == 0,
            f"--model.img-size {size} cannot be halved for each of the {levels} levels of "
            f"--model.channel-multipliers: give a multiple of {least}",
        )
        sides = [] if size is None else [size // 2**level for level in range(levels)]
        for value in self.attention_sizes:
            require(
                size is None or value in sides,
                f"--model.attention-sizes {value} is no side of a map of --model.img-size {size}: "
                f"give some of {', '.join(map(str, sides))}",
            )


# What every model has; what each has besides; and what an attention block behind a ResNet has.
OF_ANY = ("name", "img_size", "in_channels", "dtype")
OF_RESNET = ("stem", "width", "attention")
OF_DCGAN = ("width", "z_dim", "conditional")
OF_UNET = (
    "width", "conditional", "channel_multipliers", "blocks", "attention_sizes", "dropout",
)  # fmt: skip
OF_BLOCK = ("patch_size", "embed_dim", "num_heads", "mlp_ratio", "dropout")


def foreign_options(config: ModelConfig) -> dict[str, Any]:
    """The options that the model does not have, and their values."""
    if config.name is None:  # the weights decide
        return {}
    values = {each.name: getattr(config, each.name) for each in fields(config)}
    if config.is_vit:
        own = values.keys() - {*OF_RESNET, *OF_DCGAN, *OF_UNET} | {"dropout"}
    elif config.is_generator:
        own = {*OF_ANY, *(OF_DCGAN if config.name == "dcgan" else OF_UNET)}
    else:
        own = {*OF_ANY, *OF_RESNET, *(OF_BLOCK if config.attention != "none" else ())}
    return {name: value for name, value in values.items() if name not in own}


def without_foreign_options(config: ModelConfig) -> ModelConfig:
    """With None for every option that a model other than a Vision Transformer does not have.

    What is drawn, or switched on, is 0 or off instead.
    """
    if config.is_vit:
        return config
    rates = ("dropout", "attention_dropout", "projection_dropout", "embedding_dropout", "drop_path")
    off = dict.fromkeys(rates, 0.0) | {"remat": False, "conditional": False, "attention": "none"}
    return replace(config, **{name: off.get(name) for name in foreign_options(config)})
