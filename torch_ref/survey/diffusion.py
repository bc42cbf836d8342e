"""DDPM: the noise that is added, the loss, and the way back.

Source: Ho et al. 2020, arXiv:2006.11239; the times here count from 0.
"""

import math

import torch
from torch import Tensor


class Diffusion:
    """The numbers of a schedule, in float64, and what is done with them in the type of the images.

    Args:
        steps: T.
        name: "linear", beta from 1e-4 to .02 times 1000 / T, or "cosine" (Nichol and Dhariwal
            2021, arXiv:2102.09672).
    """

    def __init__(self, steps: int = 1000, name: str = "linear"):
        self.steps = steps
        if name == "linear":
            scale = 1000 / steps
            self.beta = torch.linspace(1e-4 * scale, 0.02 * scale, steps, dtype=torch.float64)
        else:
            at = (torch.arange(steps + 1, dtype=torch.float64) / steps + 0.008) / 1.008
            bar = torch.cos(at * math.pi / 2) ** 2
            self.beta = 1 - bar[1:] / bar[:-1]
        self.beta = self.beta.clamp(max=0.999)
        self.bar = torch.cumprod(1 - self.beta, 0)
        self.bar_before = torch.cat([torch.ones(1, dtype=torch.float64), self.bar[:-1]])

    def add_noise(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t of images (N, C, H, W) in [-1, 1], at the times (N,)."""
        bar = self.bar[t][:, None, None, None]
        return bar.sqrt().to(x0.dtype) * x0 + (1 - bar).sqrt().to(x0.dtype) * noise

    def predict_x0(self, xt: Tensor, t: int, eps: Tensor, clip: bool = True) -> Tensor:
        """The image that the noise eps leaves of x_t."""
        bar = self.bar[t]
        x0 = (xt - float((1 - bar).sqrt()) * eps) / float(bar.sqrt())
        return x0.clamp(-1, 1) if clip else x0

    def step_back(
        self, xt: Tensor, t: int, eps: Tensor, noise: Tensor, variance: str = "small"
    ) -> Tensor:
        """x_{t-1}: the mean of q(x_{t-1} | x_t, x_0), and noise but for the last step.

        Args:
            xt: images (N, C, H, W) at the time t.
            t: of all of them.
            eps: what the network predicts for them.
            noise: standard normal.
            variance: "small", that of q, or "large", beta.
        """
        beta, bar, before = self.beta[t], self.bar[t], self.bar_before[t]
        x0 = self.predict_x0(xt, t, eps)
        mean = float(before.sqrt() * beta / (1 - bar)) * x0
        mean = mean + float((1 - beta).sqrt() * (1 - before) / (1 - bar)) * xt
        if t == 0:
            return mean
        squared = beta * (1 - before) / (1 - bar) if variance == "small" else beta
        return mean + float(squared.sqrt()) * noise

    def jump(
        self, xt: Tensor, t: int, to: int, eps: Tensor, noise: Tensor, eta: float = 0.0
    ) -> Tensor:
        """DDIM's step from the time t to the earlier time `to`, or to the image where it is -1.

        Source: Song et al. 2021, arXiv:2010.02502, eq. 12.
        """
        a = self.bar[t]
        b = self.bar[to] if to >= 0 else torch.ones((), dtype=torch.float64)
        x0 = self.predict_x0(xt, t, eps)
        eps = (xt - float(a.sqrt()) * x0) / float((1 - a).sqrt())
        sigma = eta * ((1 - b) / (1 - a) * (1 - a / b)).sqrt()
        direction = float((1 - b - sigma**2).clamp(min=0).sqrt()) * eps
        return float(b.sqrt()) * x0 + direction + float(sigma) * noise


def simple_loss(predicted: Tensor, noise: Tensor) -> Tensor:
    """The mean of (eps_theta - eps)^2 over a batch."""
    return ((predicted - noise) ** 2).mean()
