"""DCGAN: a generator of transposed convolutions and a discriminator of strided ones.

Source: Radford et al. 2015, arXiv:1511.06434.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def stages(size: int) -> int:
    """How often 4 x 4 is doubled to `size`, a power of two from 8 on."""
    return size.bit_length() - 3


class Generator(nn.Module):
    """z (N, z_dim) to images (N, C, size, size) in [-1, 1].

    A transposed convolution makes maps of 4 x 4, and each further one doubles them and halves the
    channels; BatchNorm and ReLU follow each but the last, which is followed by tanh.

    Args:
        size: of images, in pixels: 8, 16, 32, 64 or 128.
        channels: C.
        width: channels of the last maps before the image.
        z_dim: numbers of z.
        num_classes: K; a one-hot vector of the class is appended to z. 0 for none.
    """

    def __init__(
        self, size: int, channels: int, width: int, z_dim: int = 100, num_classes: int = 0
    ):
        super().__init__()
        self.num_classes = num_classes
        widths = [width * 2**i for i in reversed(range(stages(size)))]
        self.project = nn.ConvTranspose2d(z_dim + num_classes, widths[0], 4, 1, 0, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(each) for each in widths)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False)
            for a, b in zip(widths, widths[1:], strict=False)
        )
        self.to_image = nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1)
        self.apply(init_weights)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.num_classes:
            z = torch.cat([z, F.one_hot(labels, self.num_classes).to(z.dtype)], dim=1)
        x = F.relu(self.norms[0](self.project(z[:, :, None, None])))
        for up, norm in zip(self.ups, self.norms[1:], strict=True):
            x = F.relu(norm(up(x)))
        return torch.tanh(self.to_image(x))


class Discriminator(nn.Module):
    """Images (N, C, size, size) to the logit that each is real, (N,).

    Convolutions of stride 2 halve the maps down to 4 x 4 and double the channels; BatchNorm, but
    for the first, and LeakyReLU of slope .2 follow each.

    Args:
        size, channels: of images.
        width: channels of the first maps.
        num_classes: K; the class is appended to the image as K constant channels. 0 for none.
    """

    def __init__(self, size: int, channels: int, width: int, num_classes: int = 0):
        super().__init__()
        self.num_classes = num_classes
        widths = [width * 2**i for i in range(stages(size))]
        self.from_image = nn.Conv2d(channels + num_classes, widths[0], 4, 2, 1)
        self.downs = nn.ModuleList(
            nn.Conv2d(a, b, 4, 2, 1, bias=False) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(each) for each in widths[1:])
        self.to_logit = nn.Conv2d(widths[-1], 1, 4, 1, 0)
        self.apply(init_weights)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.num_classes:
            classes = F.one_hot(labels, self.num_classes).to(x.dtype)[:, :, None, None]
            x = torch.cat([x, classes.expand(-1, -1, *x.shape[2:])], dim=1)
        x = F.leaky_relu(self.from_image(x), 0.2)
        for down, norm in zip(self.downs, self.norms, strict=True):
            x = F.leaky_relu(norm(down(x)), 0.2)
        return self.to_logit(x)[:, 0, 0, 0]


def init_weights(module: nn.Module) -> None:
    """N(0, .02) for convolutions, N(1, .02) for BatchNorm's scales, and biases of 0."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    if getattr(module, "bias", None) is not None:
        nn.init.zeros_(module.bias)
