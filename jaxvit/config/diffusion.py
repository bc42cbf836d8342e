"""Diffusion: how images are dissolved in noise, and how they are made from it."""

from dataclasses import dataclass
from typing import Literal

from jaxvit.config.checks import count, option, require, within


@dataclass(frozen=True)
class DiffusionConfig:
    """Of --method diffusion: noise in training, and the samples that validation draws."""

    # T: steps in which an image is dissolved.
    steps: int = option(1000, count(2, 10**5))
    # How the variance of the noise grows; see jaxvit.objectives.diffusion.betas.
    schedule: Literal["linear", "cosine"] = "linear"
    # Of a conditional model: share of training images whose class is hidden, so that it learns to
    # do without, which guidance needs.
    hide_class: float = option(0.1, within(0, 1, closed=False))
    # Steps of the sampler (DDIM) of the validations' samples, and of python -m jaxvit sample unless
    # it is given another number.
    sample_steps: int = option(50, count(1, 10**5))
    # Of a conditional model: weight of what the class adds to the predicted noise; 1 is the model's
    # own prediction, more gives clearer and less varied images.
    guidance: float = option(1.0, within(0, 100))
    # Variance of a step of the ancestral sampler (sample --steps 0): that of q(x_{t-1} | x_t, x_0),
    # or beta_t, both of Ho et al. 2020. Nothing to DDIM.
    variance: Literal["small", "large"] = "small"

    def check(self) -> None:
        require(
            self.sample_steps <= self.steps,
            f"--diffusion.sample-steps {self.sample_steps} is more than --diffusion.steps "
            f"{self.steps}: give at most as many",
        )
