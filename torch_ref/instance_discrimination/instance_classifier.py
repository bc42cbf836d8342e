"""vit-pytorch's Vision Transformer, which gives z, and a head of one logit for each image."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call


class InstanceClassifier(nn.Module):
    """z = backbone(x); logits = instances(z), or cosines of z and a bank of vectors.

    Small views may have fewer pixels than the backbone's images: see at_size_of.

    Args:
        backbone: vit-pytorch's ViT, which gives z (N, z_dim).
        z_dim: numbers of z.
        num_instances: training images.
        temperature: by which cosines are divided; None for a linear layer.
    """

    def __init__(
        self,
        backbone: nn.Module,
        z_dim: int,
        num_instances: int,
        temperature: float | None = None,
    ):
        super().__init__()
        self.backbone, self.temperature = backbone, temperature
        if temperature is None:
            self.instances = nn.Linear(z_dim, num_instances)
        else:
            self.bank = nn.Parameter(0.01 * torch.randn(num_instances, z_dim))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = at_size_of(x, self.backbone)
        return z, self.logits(z)

    def logits(self, z: Tensor) -> Tensor:
        """(N, instances), of z (N, z_dim)."""
        if self.temperature is None:
            return self.instances(z)
        cosines = F.normalize(z, dim=1) @ F.normalize(self.bank, dim=1).T
        return cosines / self.temperature


def at_size_of(x: Tensor, backbone: nn.Module) -> Tensor:
    """z of square images, with the positions of the patches resized where their number differs.

    Bicubic with antialiasing, as timm resizes positions; the class token keeps its own.

    Args:
        x: (N, C, H, H), with H a multiple of the patch size.
        backbone: vit-pytorch's ViT.
    """
    positions = backbone.pos_embedding
    old, new = math.isqrt(len(positions) - 1), x.shape[-1] // backbone.patch_size[0]
    if old == new:
        return backbone(x)
    square = positions[1:].T.reshape(1, -1, old, old)
    square = F.interpolate(square, (new, new), mode="bicubic", antialias=True)
    resized = torch.cat([positions[:1], square[0].flatten(1).T])
    return functional_call(backbone, {"pos_embedding": resized}, x)


def blog_model(num_instances: int, z_dim: int = 10, **sizes) -> InstanceClassifier:
    """With the blog's numbers: patches of 32, width 1024, depth 6, 16 heads of 64, MLP 2048.

    Args:
        num_instances: training images.
        z_dim: numbers of z.
        sizes: other arguments of vit_pytorch.ViT.
    """
    from vit_pytorch import ViT

    numbers = {
        "image_size": 224, "patch_size": 32, "dim": 1024, "depth": 6, "heads": 16,
        "mlp_dim": 2048, "dropout": 0.1, "emb_dropout": 0.1,
    }  # fmt: skip
    return InstanceClassifier(ViT(num_classes=z_dim, **numbers | sizes), z_dim, num_instances)
