"""vit-pytorch's Vision Transformer, which gives z, and a head of one logit for each image."""

from torch import Tensor, nn


class InstanceClassifier(nn.Module):
    """z = backbone(x); logits = instances(z).

    Args:
        backbone: gives z (N, z_dim).
        z_dim: numbers of z.
        num_instances: training images.
    """

    def __init__(self, backbone: nn.Module, z_dim: int, num_instances: int):
        super().__init__()
        self.backbone = backbone
        self.instances = nn.Linear(z_dim, num_instances)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.backbone(x)
        return z, self.instances(z)


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
