"""A ResNet with an attention block in place of its head."""

from torch import Tensor, nn

from torch_ref.survey.attention_blocks import AttentionBlock
from torch_ref.survey.resnet import LAYERS, ResNet


class ResNetWithAttention(nn.Module):
    """logits = block(backbone.feature_map(x)); images (N, C, H, W) become logits (N, K).

    With a frozen backbone only the block trains. The backbone then stays in evaluation mode also
    after train(): without that its BatchNorm would go on to change its running statistics.

    Args:
        layers, stem, in_channels, width: see torch_ref.survey.resnet.ResNet.
        img_size: height and width of an image, in pixels.
        num_classes: K.
        frozen_backbone: whether only the block trains.
        options: of the AttentionBlock.
    """

    def __init__(
        self,
        layers: tuple[int, ...] = LAYERS["resnet18"],
        img_size: int = 32,
        num_classes: int = 10,
        stem: str = "cifar",
        in_channels: int = 3,
        width: int = 64,
        frozen_backbone: bool = False,
        **options,
    ):
        super().__init__()
        self.frozen_backbone = frozen_backbone
        self.backbone = ResNet(layers, 0, stem, in_channels, width)
        self.block = AttentionBlock(
            img_size=self.backbone.map_size(img_size),
            in_channels=self.backbone.map_channels,
            num_classes=num_classes,
            **options,
        )
        self.backbone.requires_grad_(not frozen_backbone)
        self.train()

    def train(self, mode: bool = True) -> "ResNetWithAttention":
        super().train(mode)
        if self.frozen_backbone:
            self.backbone.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.backbone.feature_map(x))
