"""The U-Net of DDPM, which predicts the noise in an image.

Source: Ho et al. 2020, arXiv:2006.11239, appendix B.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sinusoids(t: Tensor, width: int) -> Tensor:
    """(N,) times to (N, width): sin(t w_i) and then cos(t w_i), with w_i from 1 to 1e-4."""
    half = width // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float64) / (half - 1))
    angles = t[:, None].double() * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Attention(nn.Module):
    """x + out(attention between the positions of norm(x)), with one head."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x).flatten(2).transpose(1, 2)  # (N, H W, C)
        q, k, v = self.query(h), self.key(h), self.value(h)
        weights = (q @ k.transpose(1, 2) / math.sqrt(x.shape[1])).softmax(dim=-1)
        return x + self.out(weights @ v).transpose(1, 2).reshape(x.shape)


class ResidualBlock(nn.Module):
    """Two convolutions, between which the time is added, around a shortcut; then attention.

    Args:
        inputs, outputs: channels.
        time_dim: width of the embedded time.
        groups: of GroupNorm.
        dropout: rate before the second convolution.
        attends: whether attention follows.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        time_dim: int,
        groups: int,
        dropout: float = 0.0,
        attends: bool = False,
    ):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time = nn.Linear(time_dim, outputs)
        self.norm2 = nn.GroupNorm(groups, outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.attention = Attention(outputs, groups) if attends else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x))) + self.time(F.silu(time))[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return self.attention(self.shortcut(x) + h)


class UNet(nn.Module):
    """Noisy images (N, C, H, W) and their times (N,) to the noise in them.

    Args:
        size: H and W, in pixels.
        channels: C.
        width: channels of the first level; of GroupNorm's groups there are min(32, width / 4).
        multipliers: channels of each level over width; each has half the size of the one before.
        blocks: residual blocks of a level on the way down; on the way up there is one more.
        attention_sizes: sides of the maps at which attention follows each block.
        dropout: rate.
        num_classes: K; the embedding of the class, or of no class (K), is added to that of time.
    """

    def __init__(
        self,
        size: int,
        channels: int,
        width: int = 128,
        multipliers: tuple[int, ...] = (1, 2, 2, 2),
        blocks: int = 2,
        attention_sizes: tuple[int, ...] = (16,),
        dropout: float = 0.0,
        num_classes: int = 0,
    ):
        super().__init__()
        self.width, self.blocks = width, blocks
        groups, time_dim = min(32, width // 4), 4 * width

        def block(inputs: int, outputs: int, attends: bool) -> ResidualBlock:
            return ResidualBlock(inputs, outputs, time_dim, groups, dropout, attends)

        self.time1 = nn.Linear(width, time_dim)
        self.time2 = nn.Linear(time_dim, time_dim)
        self.classes = nn.Embedding(num_classes + 1, time_dim) if num_classes else None
        self.from_image = nn.Conv2d(channels, width, 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        widths = [width * each for each in multipliers]
        skipped, now = [width], width
        for level, outputs in enumerate(widths):
            for _ in range(blocks):
                self.down.append(block(now, outputs, size // 2**level in attention_sizes))
                now = outputs
                skipped.append(now)
            if level < len(widths) - 1:
                self.shrink.append(nn.Conv2d(now, now, 3, stride=2, padding=1))
                skipped.append(now)
        self.middle = nn.ModuleList([block(now, now, True), block(now, now, False)])
        for level, outputs in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                attends = size // 2**level in attention_sizes
                self.up.append(block(now + skipped.pop(), outputs, attends))
                now = outputs
            if level:
                self.grow.append(nn.Conv2d(now, now, 3, padding=1))
        self.norm = nn.GroupNorm(groups, now)
        self.to_noise = nn.Conv2d(now, channels, 3, padding=1)
        self.init_weights()

    def init_weights(self) -> None:
        """Xavier uniform, and zero for what ends a block and for the last layer; biases of 0."""
        for name, module in self.named_modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
                if name.endswith(("conv2", "attention.out", "to_noise")):
                    nn.init.zeros_(module.weight)
        if self.classes is not None:
            nn.init.normal_(self.classes.weight, 0.0, 0.02)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        time = self.time2(F.silu(self.time1(sinusoids(t, self.width).to(x.dtype))))
        if self.classes is not None:
            time = time + self.classes(labels)
        x = self.from_image(x)
        skipped = [x]
        for number, block in enumerate(self.down, start=1):
            x = block(x, time)
            skipped.append(x)
            if number % self.blocks == 0 and number < len(self.down):
                x = self.shrink[number // self.blocks - 1](x)
                skipped.append(x)
        for block in self.middle:
            x = block(x, time)
        for number, block in enumerate(self.up, start=1):
            x = block(torch.cat([x, skipped.pop()], dim=1), time)
            if number % (self.blocks + 1) == 0 and number < len(self.up):
                x = F.interpolate(x, scale_factor=2, mode="nearest")
                x = self.grow[number // (self.blocks + 1) - 1](x)
        return self.to_noise(F.silu(self.norm(x)))
