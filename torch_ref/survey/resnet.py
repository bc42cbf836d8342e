"""torchvision's ResNet-18 and -34, with a stem for images of 32 x 32, and its feature map."""

from torch import Tensor, nn
from torchvision import models

LAYERS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}  # basic blocks of each stage


class ResNet(models.ResNet):
    """torchvision's class and names of weights; images (N, C, H, W) become logits (N, K).

    Args:
        layers: basic blocks of each of the four stages, as in LAYERS.
        num_classes: K; 0 for a model without a head, which gives the features.
        stem: "imagenet", torchvision's 7 x 7 convolution of stride 2 and pool, or "cifar", a 3 x 3
            convolution of stride 1.
        in_channels: C.
        width: channels of the first stage; each of the four has twice those of the one before.

    Source: He et al. 2016, arXiv:1512.03385.
    """

    def __init__(
        self,
        layers: tuple[int, ...] = LAYERS["resnet18"],
        num_classes: int = 10,
        stem: str = "cifar",
        in_channels: int = 3,
        width: int = 64,
    ):
        super().__init__(models.resnet.BasicBlock, list(layers), num_classes or 1)
        if width != 64:
            self._narrow(layers, width, num_classes or 1)
        if stem == "cifar":
            self.conv1 = nn.Conv2d(in_channels, width, 3, stride=1, padding=1, bias=False)
            self.maxpool = nn.Identity()
        else:
            self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        if not num_classes:
            self.fc = nn.Identity()
        self.halvings = 3 if stem == "cifar" else 5
        self.map_channels = 8 * width

    def _narrow(self, layers: tuple[int, ...], width: int, num_classes: int) -> None:
        """Stages of another width: torchvision's class has 64 written into it."""
        self.inplanes = width
        self.bn1 = nn.BatchNorm2d(width)
        for stage, blocks in enumerate(layers):
            stride = 1 if stage == 0 else 2
            made = self._make_layer(models.resnet.BasicBlock, width * 2**stage, blocks, stride)
            setattr(self, f"layer{stage + 1}", made)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.fc = nn.Linear(8 * width, num_classes)

    def feature_map(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the output of the last stage, (N, 8 width, H', W')."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def map_size(self, img_size: int) -> int:
        """Height and width of the feature map: img_size halved 3 or 5 times, rounded up."""
        return -(-img_size // 2**self.halvings)
