"""Training and sampling of DDPM.

Source: Ho et al. 2020, arXiv:2006.11239, algorithms 1 and 2.
"""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torch_ref.survey.diffusion import Diffusion, simple_loss


def ddpm_step(
    network: nn.Module,
    optimizer: Optimizer,
    diffusion: Diffusion,
    images: Tensor,
    t: Tensor,
    noise: Tensor,
    labels: Tensor | None = None,
) -> float:
    """One update; returns the loss before it.

    Args:
        network: (x_t, t, labels) -> the noise in x_t.
        optimizer: of its parameters.
        diffusion: the schedule.
        images: (N, C, H, W) in [-1, 1].
        t, noise: of each; t uniform in [0, T), noise standard normal.
        labels: (N,), K where the class is hidden; None without classes.
    """
    optimizer.zero_grad()
    loss = simple_loss(network(diffusion.add_noise(images, t, noise), t, labels), noise)
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def predict_noise(
    network: nn.Module,
    x: Tensor,
    t: int,
    labels: Tensor | None = None,
    guidance: float = 1.0,
    hidden: int | None = None,
) -> Tensor:
    """eps without a class plus `guidance` times what the class adds to it.

    Args:
        network: (x_t, t, labels) -> noise.
        x, t: images at one time.
        labels: (N,), or None.
        guidance: 1 for the network's own prediction.
        hidden: K, the label of no class, which guidance needs.

    Source: Ho and Salimans 2022, arXiv:2207.12598, with guidance = 1 + w.
    """
    times = torch.full((len(x),), t)
    eps = network(x, times, labels)
    if labels is None or guidance == 1:
        return eps
    without = network(x, times, torch.full_like(labels, hidden))
    return without + guidance * (eps - without)


@torch.no_grad()
def ancestral_sample(
    network: nn.Module,
    diffusion: Diffusion,
    noises: Tensor,
    labels: Tensor | None = None,
    variance: str = "small",
) -> Tensor:
    """Images in [-1, 1] from noise, through every time.

    Args:
        network: see predict_noise.
        diffusion: the schedule, of T steps.
        noises: (T + 1, N, C, H, W): x_T, and what each step back adds.
        labels: (N,), or None.
        variance: see Diffusion.step_back.
    """
    x = noises[0]
    for number, t in enumerate(reversed(range(diffusion.steps)), start=1):
        eps = predict_noise(network, x, t, labels)
        x = diffusion.step_back(x, t, eps, noises[number], variance)
    return x


@torch.no_grad()
def ddim_sample(
    network: nn.Module,
    diffusion: Diffusion,
    x: Tensor,
    number: int,
    labels: Tensor | None = None,
    guidance: float = 1.0,
    hidden: int | None = None,
) -> Tensor:
    """Images in [-1, 1] from noise x, through `number` evenly spaced times, without further noise.

    Source: Song et al. 2021, arXiv:2010.02502.
    """
    times = [i * diffusion.steps // number for i in reversed(range(number))]
    for t, to in zip(times, [*times[1:], -1], strict=True):
        eps = predict_noise(network, x, t, labels, guidance, hidden)
        x = diffusion.jump(x, t, to, eps, torch.zeros_like(x))
    return x
