"""From images to sequences of patch tokens."""

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxvit.models.initializers import Init, bias_init, patch_kernel_init
from jaxvit.models.layer_norm import EPSILON, LayerNorm
from jaxvit.models.linear import PatchProjection
from jaxvit.shapes import Array, Float


class PatchEmbedding(nn.Module):
    """Splits an image into square patches and projects each to one token.

    token[n] = patch[n] W + b, with patches counted row by row. This is a convolution whose kernel
    size and stride both equal patch_size. With patch_norm, as in vit-pytorch,
    token[n] = norm(norm_patch(patch[n]) W + b).

    Attributes:
      img_size: height and width of the image, in pixels.
      patch_size: side of a patch, in pixels.
      in_channels: channels C of the image.
      embed_dim: width D of a token.
      dtype: of the matmul.
      init_scheme: see jaxvit.models.initializers.
      patch_norm: whether the values of a patch, and its token, are normalised: two LayerNorms.
      norm_eps: theirs.

    Raises:
      ValueError: img_size is not divisible by patch_size, or an image has another shape.

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929, eq. 1. Torch twin:
    torch_ref/patch_embedding.py.
    """

    img_size: int
    patch_size: int
    in_channels: int
    embed_dim: int
    dtype: DTypeLike = jnp.float32
    init_scheme: Init = "torch"
    patch_norm: bool = False
    norm_eps: float = EPSILON

    def __post_init__(self):
        if self.img_size % self.patch_size != 0:
            raise ValueError(
                f"img_size {self.img_size} is not divisible by patch_size {self.patch_size}"
            )
        super().__post_init__()

    @property
    def num_patches(self) -> int:
        """N = (img_size / patch_size)^2."""
        return (self.img_size // self.patch_size) ** 2

    def setup(self):
        fan_in = self.in_channels * self.patch_size**2
        self.proj = PatchProjection(
            self.embed_dim,
            self.patch_size,
            patch_kernel_init(self.init_scheme, fan_in),
            bias_init(self.init_scheme, fan_in),
            self.dtype,
        )
        if self.patch_norm:
            self.norm_patch = LayerNorm(self.norm_eps)
            self.norm = LayerNorm(self.norm_eps)

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B N D"]:
        expected = (self.img_size, self.img_size, self.in_channels)
        if x.shape[1:] != expected:
            raise ValueError(
                f"image of shape {x.shape[1:]} does not fit this model, made for {expected}: "
                "resize the image, or build the model for its size"
            )
        if self.patch_norm:
            x = self.with_normalised_patches(x)
        x = self.proj(x)  # (B, H / p, W / p, D)
        x = x.reshape(x.shape[0], self.num_patches, self.embed_dim)
        return self.norm(x) if self.patch_norm else x

    def with_normalised_patches(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        """norm_patch of the p p C values of each patch, in rows, columns and channels."""
        p, sides = self.patch_size, (x.shape[0], self.img_size // self.patch_size)
        x = x.reshape(*sides, p, sides[1], p, self.in_channels)  # (B, h, p, w, p, C)
        patches = x.swapaxes(2, 3).reshape(*sides, sides[1], -1)
        patches = self.norm_patch(patches).reshape(*sides, sides[1], p, p, self.in_channels)
        return patches.swapaxes(2, 3).reshape(-1, self.img_size, self.img_size, self.in_channels)
