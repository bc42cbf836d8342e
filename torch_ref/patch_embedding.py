"""Images to a sequence of patch tokens."""

from torch import Tensor, nn


class PatchEmbedding(nn.Module):
    """Splits an image into square patches and projects each patch to one token.

    token[n] = W patch[n] + b, with patches counted row by row. This is a convolution whose kernel
    and stride are both patch_size. (N, C, H, W) becomes (N, num_patches, embed_dim), with
    num_patches = (img_size / patch_size)^2.

    Args:
        img_size: height and width of an image, in pixels.
        patch_size: side of a patch, in pixels; divides img_size.
        in_channels: C.
        embed_dim: width of a token.

    Raises:
        ValueError: img_size is not divisible by patch_size, or an image has another shape.

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929, eq. 1.
    """

    def __init__(self, img_size: int, patch_size: int, in_channels: int, embed_dim: int):
        super().__init__()
        if img_size % patch_size != 0:
            raise ValueError(f"img_size {img_size} is not divisible by patch_size {patch_size}")
        self.img_size = img_size
        self.num_patches = (img_size // patch_size) ** 2
        self.proj = nn.Conv2d(in_channels, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        expected = (self.proj.in_channels, self.img_size, self.img_size)
        if tuple(x.shape[1:]) != expected:
            raise ValueError(
                f"image of shape {tuple(x.shape[1:])} does not fit this model, made for "
                f"{expected}: resize the image, or build the model for its size"
            )
        x = self.proj(x)  # (N, D, H / p, W / p)
        return x.flatten(2).transpose(1, 2)  # (N, num_patches, D)
