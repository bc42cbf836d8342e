"""DCGAN: a generator of transposed convolutions and a discriminator of strided ones."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxvit.models.batch_norm import BatchNorm
from jaxvit.models.resampling import double, halve
from jaxvit.shapes import Array, Float, Int

SMALLEST = 4  # side of the maps at the end that has no image
kernel_init = nn.initializers.normal(0.02)


def scale_init(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
    """N(1, .02)."""
    return 1 + kernel_init(key, shape, dtype)


def widths(size: int, width: int) -> list[int]:
    """Channels of the maps from the image's side on to SMALLEST: each has twice those before.

    Args:
      size: of images: SMALLEST, doubled once or more.
      width: of the first.

    Example:
      >>> widths(32, 64)
      [64, 128, 256]
    """
    return [width * 2**i for i in range((size // SMALLEST).bit_length() - 1)]


class Resampling(nn.Module):
    """A convolution of 4 x 4 positions that halves or doubles a map's sides.

    Parameters: `kernel` (4, 4, C, F), and `bias` (F,) where asked for. The output is float32.

    Attributes:
      features: F.
      apply_kernel: jaxvit.models.resampling.halve or double.
      has_bias: whether there is one.
      dtype: of the matmul.
    """

    features: int
    apply_kernel: Callable[[Array, Array], Array]
    has_bias: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w F"]:
        kernel = self.param("kernel", kernel_init, (4, 4, x.shape[-1], self.features))
        y = self.apply_kernel(x.astype(self.dtype), kernel.astype(self.dtype)).astype(jnp.float32)
        if not self.has_bias:
            return y
        return y + self.param("bias", nn.initializers.zeros, (self.features,))


class Project(nn.Module):
    """Numbers (B, Z) to maps (B, 4, 4, F): y_ijf = sum_z x_z kernel_ijzf.

    Torch twin: torch.nn.ConvTranspose2d(Z, F, 4, 1, 0, bias=False) of one position.
    """

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B Z"]) -> Float[Array, "B 4 4 F"]:
        shape = (SMALLEST, SMALLEST, x.shape[-1], self.features)
        kernel = self.param("kernel", kernel_init, shape).astype(self.dtype)
        flat = x.astype(self.dtype) @ kernel.transpose(2, 0, 1, 3).reshape(x.shape[-1], -1)
        return flat.astype(jnp.float32).reshape(-1, SMALLEST, SMALLEST, self.features)


class ToLogit(nn.Module):
    """Maps (B, 4, 4, C) to numbers (B,): y = sum_ijc x_ijc kernel_ijc + bias.

    Torch twin: torch.nn.Conv2d(C, 1, 4).
    """

    @nn.compact
    def __call__(self, x: Float[Array, "B 4 4 C"]) -> Float[Array, "B"]:
        kernel = self.param("kernel", kernel_init, (*x.shape[1:], 1))
        bias = self.param("bias", nn.initializers.zeros, (1,))
        return (x.reshape(len(x), -1) @ kernel.reshape(-1, 1) + bias)[:, 0]


class Generator(nn.Module):
    """z, and a class where there are any, to images in [-1, 1].

    maps of 4 x 4 = relu(norms_0(project(z))); each further transposed convolution doubles them and
    halves the channels, with BatchNorm and ReLU behind it; the last gives tanh(to_image(maps)).

    Called as `model.apply({"params": params, "batch_stats": statistics}, z, labels,
    deterministic)`; in training with `mutable=["batch_stats"]`.

    Attributes:
      img_size: of images: 8, 16, 32, 64 or 128.
      in_channels: of images.
      width: channels of the last maps before the image.
      z_dim: numbers of z.
      num_classes: K; a one-hot vector of the class is appended to z. 0 for none.
      axis: the pmap axis of batch statistics, or None.
      dtype: of the matmuls; all else, and what gives the logit, is float32.

    Source: Radford et al. 2015, arXiv:1511.06434. Torch twin: torch_ref/survey/dcgan.py.
    """

    img_size: int
    in_channels: int
    width: int
    z_dim: int = 100
    num_classes: int = 0
    axis: str | None = None
    dtype: DTypeLike = jnp.float32

    def setup(self):
        first, *others = reversed(widths(self.img_size, self.width))
        self.project = Project(first, self.dtype)
        self.ups = [Resampling(each, double, False, self.dtype) for each in others]
        self.norms = [BatchNorm(self.axis, scale_init=scale_init) for _ in (first, *others)]
        self.to_image = Resampling(self.in_channels, double, True, self.dtype)

    def example_inputs(self) -> tuple[Array | None, ...]:
        """What one image is made from."""
        labels = jnp.zeros(1, jnp.int32) if self.num_classes else None
        return jnp.zeros((1, self.z_dim)), labels

    def __call__(
        self,
        z: Float[Array, "B Z"],
        labels: Int[Array, "B"] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B H W C"]:
        if self.num_classes:
            z = jnp.concatenate([z, jax.nn.one_hot(labels, self.num_classes)], axis=1)
        x = nn.relu(self.norms[0](self.project(z), deterministic))
        for up, norm in zip(self.ups, self.norms[1:], strict=True):
            x = nn.relu(norm(up(x), deterministic))
        return jnp.tanh(self.to_image(x))


class Discriminator(nn.Module):
    """Images in [-1, 1], and their classes where there are any, to the logit that each is real.

    Convolutions halve the maps down to 4 x 4 and double the channels; BatchNorm, but for the first,
    and LeakyReLU of slope .2 follow each. Called as Generator.

    Attributes:
      img_size, in_channels, num_classes, axis, dtype: see Generator; the class is appended to the
        image as K constant channels.
      width: channels of the first maps.

    Source: Radford et al. 2015, arXiv:1511.06434. Torch twin: torch_ref/survey/dcgan.py.
    """

    img_size: int
    in_channels: int
    width: int
    num_classes: int = 0
    axis: str | None = None
    dtype: DTypeLike = jnp.float32

    def setup(self):
        first, *others = widths(self.img_size, self.width)
        self.from_image = Resampling(first, halve, True, self.dtype)
        self.downs = [Resampling(each, halve, False, self.dtype) for each in others]
        self.norms = [BatchNorm(self.axis, scale_init=scale_init) for _ in others]
        self.to_logit = ToLogit()

    def example_inputs(self) -> tuple[Array | None, ...]:
        """One image."""
        labels = jnp.zeros(1, jnp.int32) if self.num_classes else None
        return jnp.zeros((1, self.img_size, self.img_size, self.in_channels)), labels

    def __call__(
        self,
        x: Float[Array, "B H W C"],
        labels: Int[Array, "B"] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B"]:
        if self.num_classes:
            classes = jax.nn.one_hot(labels, self.num_classes)[:, None, None]
            maps = jnp.broadcast_to(classes, (*x.shape[:3], self.num_classes))
            x = jnp.concatenate([x, maps], axis=-1)
        x = nn.leaky_relu(self.from_image(x), 0.2)
        for down, norm in zip(self.downs, self.norms, strict=True):
            x = nn.leaky_relu(norm(down(x), deterministic), 0.2)
        return self.to_logit(x)
