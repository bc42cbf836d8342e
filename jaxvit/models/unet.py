"""The U-Net of DDPM, which predicts the noise in an image."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike

from jaxvit.models.convolution import Conv
from jaxvit.models.dropout import Dropout
from jaxvit.models.group_norm import GroupNorm
from jaxvit.models.linear import Dense
from jaxvit.models.upsampled_convolution import UpsampledConv
from jaxvit.shapes import Array, Float, Int

xavier, zeros = nn.initializers.xavier_uniform(), nn.initializers.zeros
class_init = nn.initializers.normal(0.02)


def sinusoids(times: int, width: int) -> np.ndarray:
    """float32 (T, D): sin(t w_i) and then cos(t w_i) of every t, w_i = 10000^(-i / (D / 2 - 1)).

    Computed in float64: in float32 an angle of 1,000 is off by 6e-5.

    Args:
      times: T.
      width: D, even, at least 4.

    Source: Vaswani et al. 2017, arXiv:1706.03762, in the form of Ho et al. 2020.
    """
    half = width // 2
    rates = np.exp(-math.log(10_000) * np.arange(half) / (half - 1))
    angles = np.arange(times)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


class Attention(nn.Module):
    """x + out(softmax(q k^T / sqrt(C)) v) between the positions of norm(x), with one head."""

    channels: int
    groups: int
    dtype: DTypeLike = jnp.float32

    def setup(self):
        self.norm = GroupNorm(self.groups)
        self.query, self.key, self.value = (
            Dense(self.channels, xavier, zeros, self.dtype) for _ in range(3)
        )
        self.out = Dense(self.channels, zeros, zeros, self.dtype)

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        h = self.norm(x).reshape(len(x), -1, self.channels)  # (B, N, C)
        q, k, v = (part(h).astype(self.dtype) for part in (self.query, self.key, self.value))
        scores = jnp.einsum("bnc,bmc->bnm", q, k).astype(jnp.float32) / math.sqrt(self.channels)
        weights = jax.nn.softmax(scores, axis=-1).astype(self.dtype)
        return x + self.out(jnp.einsum("bnm,bmc->bnc", weights, v)).reshape(x.shape)


class ResidualBlock(nn.Module):
    """attention(shortcut(x) + conv2(dropout(silu(norm2(h))))), h = conv1(silu(norm1(x))) + time.

    The time, and the class, come as one vector for each image, of which a linear layer makes a
    number for each channel. The shortcut is the identity, or a 1 x 1 convolution where the number
    of channels changes.

    Attributes:
      inputs, outputs: channels.
      groups: of GroupNorm.
      dropout: rate.
      attends: whether attention follows.
      dtype: of convolutions and matmuls.
    """

    inputs: int
    outputs: int
    groups: int
    dropout: float = 0.0
    attends: bool = False
    dtype: DTypeLike = jnp.float32

    def setup(self):
        self.norm1, self.norm2 = GroupNorm(self.groups), GroupNorm(self.groups)
        self.conv1 = Conv(self.outputs, 3, 1, self.dtype, xavier, zeros)
        self.conv2 = Conv(self.outputs, 3, 1, self.dtype, zeros, zeros)
        self.time = Dense(self.outputs, xavier, zeros, self.dtype)
        self.drop = Dropout(self.dropout)
        if self.inputs != self.outputs:
            self.shortcut = Conv(self.outputs, 1, 1, self.dtype, xavier, zeros)
        if self.attends:
            self.attention = Attention(self.outputs, self.groups, self.dtype)

    def __call__(
        self, x: Float[Array, "B H W C"], time: Float[Array, "B E"], deterministic: bool
    ) -> Float[Array, "B H W F"]:
        h = self.conv1(nn.silu(self.norm1(x))) + self.time(nn.silu(time))[:, None, None]
        h = self.conv2(self.drop(nn.silu(self.norm2(h)), deterministic))
        h = h + (self.shortcut(x) if self.inputs != self.outputs else x)
        return self.attention(h) if self.attends else h


class UNet(nn.Module):
    """Noisy images and their times to the noise in them.

    Levels of half the size each on the way down, whose outputs are appended to what comes back on
    the way up. What ends a residual block, and the last layer, begins with zeros.

    Called as `model.apply({"params": params}, x, t, labels, deterministic, rngs=...)`.

    Attributes:
      img_size: of images: divisible by 2 for each level but the first.
      in_channels: of images.
      width: channels of the first level, a multiple of 4; GroupNorm has min(32, width / 4) groups.
      channel_multipliers: channels of each level over width.
      blocks: residual blocks of a level on the way down; on the way up there is one more.
      attention_sizes: sides of the maps at which attention follows each block.
      dropout: rate.
      num_classes: K; the embedding of the class, or of no class (K), is added to that of time.
      times: T; times are below it.
      dtype: of convolutions and matmuls; all else is float32.

    Source: Ho et al. 2020, arXiv:2006.11239, appendix B. Torch twin: torch_ref/survey/unet.py.
    """

    img_size: int
    in_channels: int
    width: int = 128
    channel_multipliers: tuple[int, ...] = (1, 2, 2, 2)
    blocks: int = 2
    attention_sizes: tuple[int, ...] = (16,)
    dropout: float = 0.0
    num_classes: int = 0
    times: int = 1000
    dtype: DTypeLike = jnp.float32

    def setup(self):
        groups = min(32, self.width // 4)

        def block(inputs: int, outputs: int, attends: bool) -> ResidualBlock:
            return ResidualBlock(inputs, outputs, groups, self.dropout, attends, self.dtype)

        def conv(features: int, stride: int = 1) -> Conv:
            return Conv(features, 3, stride, self.dtype, xavier, zeros)

        self.time1, self.time2 = (Dense(4 * self.width, xavier, zeros, self.dtype) for _ in "12")
        if self.num_classes:
            shape = (self.num_classes + 1, 4 * self.width)
            self.classes = self.param("classes", class_init, shape)
        self.from_image = conv(self.width)
        widths = [self.width * each for each in self.channel_multipliers]
        attends = [self.img_size // 2**i in self.attention_sizes for i in range(len(widths))]
        down, shrink, up, grow, skipped, now = [], [], [], [], [self.width], self.width
        for level, outputs in enumerate(widths):
            for _ in range(self.blocks):
                down.append(block(now, outputs, attends[level]))
                now = outputs
                skipped.append(now)
            if level < len(widths) - 1:
                shrink.append(conv(now, 2))
                skipped.append(now)
        self.middle = [block(now, now, True), block(now, now, False)]
        for level, outputs in reversed(list(enumerate(widths))):
            for _ in range(self.blocks + 1):
                up.append(block(now + skipped.pop(), outputs, attends[level]))
                now = outputs
            if level:
                grow.append(UpsampledConv(now, self.dtype, xavier, zeros))
        self.down, self.shrink, self.up, self.grow = down, shrink, up, grow
        self.norm = GroupNorm(groups)
        self.to_noise = Conv(self.in_channels, 3, 1, self.dtype, zeros, zeros)

    def example_inputs(self) -> tuple[Array | None, ...]:
        """One image and its time."""
        zero = jnp.zeros(1, jnp.int32)
        images = jnp.zeros((1, self.img_size, self.img_size, self.in_channels))
        return images, zero, zero if self.num_classes else None

    def __call__(
        self,
        x: Float[Array, "B H W C"],
        t: Int[Array, "B"],
        labels: Int[Array, "B"] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B H W C"]:
        table = jnp.asarray(sinusoids(self.times, self.width))
        time = self.time2(nn.silu(self.time1(table[t])))
        if self.num_classes:
            time = time + self.classes[labels]
        x = self.from_image(x)
        skipped = [x]
        for number, block in enumerate(self.down, start=1):
            x = block(x, time, deterministic)
            skipped.append(x)
            if number % self.blocks == 0 and number < len(self.down):
                x = self.shrink[number // self.blocks - 1](x)
                skipped.append(x)
        for block in self.middle:
            x = block(x, time, deterministic)
        for number, block in enumerate(self.up, start=1):
            x = block(jnp.concatenate([x, skipped.pop()], axis=-1), time, deterministic)
            if number % (self.blocks + 1) == 0 and number < len(self.up):
                x = self.grow[number // (self.blocks + 1) - 1](x)
        return self.to_noise(nn.silu(self.norm(x)))
