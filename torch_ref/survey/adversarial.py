"""One step of a GAN: the discriminator's update, and then the generator's.

Source: Goodfellow et al. 2014, arXiv:1406.2661, with the non-saturating loss of its section 3.
"""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam, Optimizer


def make_optimizer(network: nn.Module, lr: float = 2e-4) -> Optimizer:
    """Adam as Radford et al. 2015 have it."""
    return Adam(network.parameters(), lr, betas=(0.5, 0.999))


def adversarial_step(
    generator: nn.Module,
    discriminator: nn.Module,
    optimizers: tuple[Optimizer, Optimizer],
    real: Tensor,
    z: Tensor,
    labels: Tensor | None = None,
) -> tuple[float, float]:
    """Updates both networks; images are generated once, and judged by both discriminators.

    Real and generated images are two batches to BatchNorm.

    Args:
        generator, discriminator: in training mode.
        optimizers: of the generator and of the discriminator.
        real, z, labels: (N, C, H, W) in [-1, 1], (N, z_dim), and (N,) or None.

    Returns:
        The losses of the generator and of the discriminator, in nats, each before its update.
    """
    fake = generator(z, labels)

    optimizers[1].zero_grad()
    logits = discriminator(real, labels), discriminator(fake.detach(), labels)
    of_discriminator = (F.softplus(-logits[0]) + F.softplus(logits[1])).mean()
    of_discriminator.backward()
    optimizers[1].step()

    optimizers[0].zero_grad()
    of_generator = F.softplus(-discriminator(fake, labels)).mean()
    of_generator.backward()
    optimizers[0].step()
    return of_generator.item(), of_discriminator.item()
