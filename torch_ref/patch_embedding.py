"""Images to a sequence of patch tokens."""

from torch import Tensor, nn


class PatchEmbedding(nn.Module):
    """Splits an image into square patches and projects each patch to one token.

    token[n] = W patch[n] + b, with patches counted row by row. This is a convolution whose kernel
    and stride are both patch_size. (N, C, H, W) becomes (N, num_patches, embed_dim), with
    num_patches = (img_size / patch_size)^2. With patch_norm, as in vit-pytorch,
    token[n] = norm(W norm_patch(patch[n]) + b).

    Args:
        img_size: height and width of an image, in pixels.
        patch_size: side of a patch, in pixels; divides img_size.
        in_channels: C.
        embed_dim: width of a token.
        patch_norm: whether the values of a patch, and its token, are normalised.
        norm_eps: of those two LayerNorms.

    Raises:
        ValueError: img_size is not divisible by patch_size, or an image has another shape.

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929, eq. 1.
    """

    def __init__(
        self,
        img_size: int,
        patch_size: int,
        in_channels: int,
        embed_dim: int,
        patch_norm: bool = False,
        norm_eps: float = 1e-5,
    ):
        super().__init__()
        if img_size % patch_size != 0:
            raise ValueError(f"img_size {img_size} is not divisible by patch_size {patch_size}")
        self.img_size = img_size
        self.num_patches = (img_size // patch_size) ** 2
        self.proj = nn.Conv2d(in_channels, embed_dim, kernel_size=patch_size, stride=patch_size)
        self.patch_norm = patch_norm
        if patch_norm:
            self.norm_patch = nn.LayerNorm(in_channels * patch_size**2, norm_eps)
            self.norm = nn.LayerNorm(embed_dim, norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        expected = (self.proj.in_channels, self.img_size, self.img_size)
        if tuple(x.shape[1:]) != expected:
            raise ValueError(
                f"image of shape {tuple(x.shape[1:])} does not fit this model, made for "
                f"{expected}: resize the image, or build the model for its size"
            )
        if self.patch_norm:
            x = self.with_normalised_patches(x)
        x = self.proj(x)  # (N, D, H / p, W / p)
        x = x.flatten(2).transpose(1, 2)  # (N, num_patches, D)
        return self.norm(x) if self.patch_norm else x

    def with_normalised_patches(self, x: Tensor) -> Tensor:
        """norm_patch of the values of each patch, in rows, columns and channels."""
        n, c, _, _ = x.shape
        p = self.proj.kernel_size[0]
        side = self.img_size // p
        patches = x.reshape(n, c, side, p, side, p).permute(0, 2, 4, 3, 5, 1)  # (N, h, w, p, p, C)
        patches = self.norm_patch(patches.flatten(3)).reshape(n, side, side, p, p, c)
        return patches.permute(0, 5, 1, 3, 2, 4).reshape(x.shape)
