"""Images to a sequence of patch tokens."""

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxvit.models.initializers import Init, Initializer, bias_init, patch_kernel_init
from jaxvit.shapes import Array, Float


class PatchProjection(nn.Module):
    """A convolution whose stride is its kernel's size, as the one matrix product that it is.

    Attributes:
      features: width D of a token.
      patch_size: p; divides height and width of the image.
      kernel_init, bias_init: see jaxvit.models.initializers.
      dtype: type of the product; the bias is added in float32, as in jaxvit.models.dense.

    Torch twin: torch.nn.Conv2d, of whose weight `kernel` (p, p, C, D) is a transpose.
    """

    features: int
    patch_size: int
    kernel_init: Initializer
    bias_init: Initializer
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        p, (batch, height, width, channels) = self.patch_size, x.shape
        kernel = self.param("kernel", self.kernel_init, (p, p, channels, self.features))
        bias = self.param("bias", self.bias_init, (self.features,))
        x = x.astype(self.dtype).reshape(batch, height // p, p, width // p, p, channels)
        patches = x.swapaxes(2, 3).reshape(batch, height // p, width // p, -1)
        product = patches @ kernel.astype(self.dtype).reshape(-1, self.features)
        return product.astype(jnp.float32) + bias


class PatchEmbedding(nn.Module):
    """Cuts an image into square patches and projects each to one token.

    token[n] = W patch[n] + b, with patches counted row by row: a convolution whose kernel and
    stride both equal patch_size.

    Attributes:
      img_size: height and width of the image, in pixels.
      patch_size: side of a patch, in pixels.
      in_channels: channels C of the image.
      embed_dim: width D of a token.
      dtype: type of the product.
      init_scheme: see jaxvit.models.initializers.

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

    def __post_init__(self):
        if self.img_size % self.patch_size != 0:
            raise ValueError(
                f"img_size {self.img_size} is not divisible by patch_size {self.patch_size}"
            )
        super().__post_init__()

    @property
    def num_patches(self) -> int:
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

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B N D"]:
        expected = (self.img_size, self.img_size, self.in_channels)
        if x.shape[1:] != expected:
            raise ValueError(
                f"image of shape {x.shape[1:]} does not fit this model, made for {expected}: "
                "resize the image, or build the model for its size"
            )
        x = self.proj(x)  # (B, H / p, W / p, D)
        return x.reshape(x.shape[0], self.num_patches, self.embed_dim)
