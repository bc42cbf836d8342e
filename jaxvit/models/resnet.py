"""ResNet-18 and -34, as in torchvision, and with a stem for small images."""

from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxvit.config import map_channels, map_size
from jaxvit.models.batch_norm import BatchNorm
from jaxvit.models.convolution import Conv
from jaxvit.models.initializers import uniform_fan_in
from jaxvit.models.linear import Dense
from jaxvit.shapes import Array, Float

LAYERS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}  # basic blocks of each stage


class BasicBlock(nn.Module):
    """relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)).

    The shortcut is the identity, or `downsample_0` (a 1 x 1 convolution) and `downsample_1` (its
    norm) where the shape changes.

    Torch twin: torchvision.models.resnet.BasicBlock.
    """

    features: int
    stride: int
    changes: bool
    axis: str | None = None
    dtype: DTypeLike = jnp.float32

    def setup(self):
        self.conv1 = Conv(self.features, 3, self.stride, self.dtype)
        self.bn1 = BatchNorm(self.axis)
        self.conv2 = Conv(self.features, 3, 1, self.dtype)
        self.bn2 = BatchNorm(self.axis)
        if self.changes:
            self.downsample_0 = Conv(self.features, 1, self.stride, self.dtype)
            self.downsample_1 = BatchNorm(self.axis)

    def __call__(self, x: Float[Array, "B H W C"], deterministic: bool) -> Float[Array, "B h w F"]:
        y = nn.relu(self.bn1(self.conv1(x), deterministic))
        y = self.bn2(self.conv2(y), deterministic)
        if self.changes:
            x = self.downsample_1(self.downsample_0(x), deterministic)
        return nn.relu(y + x)


class ResNet(nn.Module):
    """A residual network of basic blocks, with a head.

    features = mean over positions of layer4(layer3(layer2(layer1(stem(x)))));
    logits = fc(features). The stem "imagenet" is a 7 x 7 convolution of stride 2 and a 3 x 3
    maximum of stride 2; "cifar" is a 3 x 3 convolution.

    Called as `model.apply({"params": params, "batch_stats": statistics}, images,
    deterministic=True)`; in training with `deterministic=False, mutable=["batch_stats"]`, which
    gives the new statistics too. ResNet-18 with 1,000 classes has 11,689,512 parameters.

    Attributes:
      layers: basic blocks of each of the four stages, as in LAYERS.
      img_size, in_channels: of the image.
      num_classes: K; 0 for a model without a head, which gives the features.
      stem: "imagenet" or "cifar".
      width: channels of the first stage; 64 in torchvision.
      axis: the pmap axis of its batch statistics, or None.
      dtype: of the convolutions; all else is float32.
      frozen_backbone: whether it normalises by its running statistics in training too, and leaves
        them as they are.

    Raises:
      ValueError: an image does not have the model's size and channels.

    Source: He et al. 2016, arXiv:1512.03385. Torch twin: torchvision.models.resnet18, resnet34.
    """

    layers: tuple[int, ...] = LAYERS["resnet18"]
    img_size: int = 224
    in_channels: int = 3
    num_classes: int = 1000
    stem: Literal["imagenet", "cifar"] = "imagenet"
    width: int = 64
    axis: str | None = None
    dtype: DTypeLike = jnp.float32
    frozen_backbone: bool = False

    @property
    def map_size(self) -> int:
        """Height and width of the last stage's output."""
        return map_size(self.img_size, self.stem)

    @property
    def map_channels(self) -> int:
        """Channels of the last stage's output."""
        return map_channels(self.width)

    def setup(self):
        small = self.stem == "cifar"
        self.conv1 = Conv(self.width, 3 if small else 7, 1 if small else 2, self.dtype)
        self.bn1 = BatchNorm(self.axis)
        channels, stages = self.width, []
        for stage, blocks in enumerate(self.layers):
            features = self.width * 2**stage
            stride = 1 if stage == 0 else 2
            changes = stride != 1 or channels != features
            first = BasicBlock(features, stride, changes, self.axis, self.dtype)
            others = [
                BasicBlock(features, 1, False, self.axis, self.dtype) for _ in range(1, blocks)
            ]
            stages.append([first, *others])
            channels = features
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        if self.num_classes:
            init = uniform_fan_in(channels)
            self.fc = Dense(self.num_classes, init, init)

    def __call__(
        self, x: Float[Array, "B H W C"], deterministic: bool = True
    ) -> Float[Array, "B K"]:
        return self.classify(self.features(x, deterministic))

    def classify(self, features: Float[Array, "B F"]) -> Float[Array, "B K"]:
        """The logits of features; without a head, the features."""
        return self.fc(features) if self.num_classes else features

    def features(
        self, x: Float[Array, "B H W C"], deterministic: bool = True
    ) -> Float[Array, "B F"]:
        """What the head sees: the mean over positions of the last feature map."""
        return self.feature_map(x, deterministic).mean(axis=(1, 2))

    def feature_map(
        self, x: Float[Array, "B H W C"], deterministic: bool = True
    ) -> Float[Array, "B h w F"]:
        """The output of the last stage."""
        expected = (self.img_size, self.img_size, self.in_channels)
        if x.shape[1:] != expected:
            raise ValueError(f"images of shape {x.shape[1:]} for a model of {expected}")
        deterministic = deterministic or self.frozen_backbone
        x = nn.relu(self.bn1(self.conv1(x), deterministic))
        if self.stem == "imagenet":
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for block in (*self.layer1, *self.layer2, *self.layer3, *self.layer4):
            x = block(x, deterministic)
        return x


def make_resnet(name: str, num_classes: int, **options) -> ResNet:
    """ResNet-18 or -34 by name; see LAYERS and ResNet."""
    return ResNet(LAYERS[name], num_classes=num_classes, **options)
