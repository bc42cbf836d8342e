"""Images of a trained generator: of a DCGAN in one pass, of a diffusion model in a loop of them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxvit.augment.normalize import to_bytes
from jaxvit.config import Config
from jaxvit.models.variables import variables_of
from jaxvit.objectives.diffusion import make_jumps, make_schedule
from jaxvit.objectives.samplers import (
    DrawNoise,
    PredictNoise,
    ancestral_sample,
    ddim_sample,
    ddim_stages,
)
from jaxvit.shapes import Array, Float, Int, UInt8
from jaxvit.training.task import Weights

# (weights, a key for each image, a class for each image) -> images
Sampler = Callable[[Weights, jax.Array, Array], Array]


class Sampling(NamedTuple):
    """How a diffusion model is sampled from.

    Attributes:
      steps: S of DDIM, in [1, T]; 0 for the ancestral sampler, which takes all T.
      eta: of DDIM, in [0, 1]; the share of the ancestral sampler's noise that is added.
      guidance: weight of what the class adds to the predicted noise; 1 for the model's own.
    """

    steps: int = 50
    eta: float = 0.0
    guidance: float = 1.0


def make_sampler(generator: nn.Module, config: Config, sampling: Sampling | None = None) -> Sampler:
    """(weights, keys (B,), labels (B,)) -> uint8 images (B, H, W, C).

    What an image is made from is drawn from its key alone, so that it does not depend on the others
    of its batch.

    Args:
      generator: of jaxvit.models.configured.make_generator.
      config: of the run.
      sampling: None for what the configuration says.
    """
    if config.method == "gan":
        from_noise = _make_gan_sampler(generator, config.model.z_dim)
    else:
        options = config.diffusion
        if sampling is None:
            sampling = Sampling(options.sample_steps, guidance=options.guidance)
        from_noise = _make_diffusion_sampler(generator, config, sampling)

    def sample(
        weights: Weights, keys: jax.Array, labels: Int[Array, "B"]
    ) -> UInt8[Array, "B H W C"]:
        images = from_noise(weights, keys, labels if config.model.conditional else None)
        return _as_bytes(images)

    return sample


def _make_gan_sampler(generator: nn.Module, z_dim: int) -> Sampler:
    def sample(weights: Weights, keys: jax.Array, labels: Array | None) -> Array:
        z = jax.vmap(lambda key: jax.random.normal(key, (z_dim,)))(keys)
        return generator.apply(variables_of(weights), z, labels)

    return sample


def _make_diffusion_sampler(unet: nn.Module, config: Config, sampling: Sampling) -> Sampler:
    options = config.diffusion
    schedule = make_schedule(options.schedule, options.steps)
    shape = (unet.img_size, unet.img_size, unet.in_channels)

    def sample(weights: Weights, keys: jax.Array, labels: Array | None) -> Array:
        predict = make_guided(unet, weights, labels, sampling.guidance)
        draw = _make_draw(keys, shape)
        if sampling.steps == 0:
            return ancestral_sample(predict, schedule, draw, options.variance)
        jumps = make_jumps(options.schedule, options.steps, sampling.steps, sampling.eta)
        return ddim_sample(predict, schedule, jumps, draw, sampling.eta > 0)

    return sample


def make_stages(unet: nn.Module, config: Config, number: int) -> Callable[..., tuple[Array, Array]]:
    """(weights, keys, labels) -> moments on the way from noise to the images of make_sampler.

    Args:
      unet: see make_sampler.
      config: of the run.
      number: of moments; fewer where the sampler has fewer steps.

    Returns:
      The share of each moment's variance that is noise, (M,), and uint8 images (M, B, H, W, C), of
      which the last ones are the result.
    """
    options = config.diffusion
    schedule = make_schedule(options.schedule, options.steps)
    shape = (unet.img_size, unet.img_size, unet.in_channels)
    jumps = make_jumps(options.schedule, options.steps, options.sample_steps)
    taken = np.unique(np.linspace(0, options.sample_steps - 1, number - 1).round().astype(int))

    def stages(weights: Weights, keys: jax.Array, labels: Array) -> tuple[Array, Array]:
        labels = labels if config.model.conditional else None
        predict = make_guided(unet, weights, labels, options.guidance)
        result, passed = ddim_stages(predict, schedule, jumps, _make_draw(keys, shape))
        images = jnp.concatenate([passed[taken], result[None]])
        noise = jnp.append(schedule.noise[jumps.times[taken]] ** 2, 0.0)
        return noise, _as_bytes(images)

    return stages


def _as_bytes(images: Float[Array, "*B H W C"]) -> UInt8[Array, "*B H W C"]:
    """Of images in about [-1, 1]."""
    return to_bytes((jnp.clip(images, -1, 1) + 1) / 2)


def _make_draw(keys: jax.Array, shape: tuple[int, ...]) -> DrawNoise:
    def draw(number: Array | int) -> Float[Array, "B H W C"]:
        return jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, number), shape))(keys)

    return draw


def make_guided(
    unet: nn.Module, weights: Weights, labels: Int[Array, "B"] | None, guidance: float
) -> PredictNoise:
    """eps = eps(no class) + guidance (eps(class) - eps(no class)), both in one pass.

    Args:
      unet: with a class embedding where there are labels.
      weights: its parameters.
      labels: (B,), or None.
      guidance: 1 for eps(class) alone.

    Source: Ho and Salimans 2022, arXiv:2207.12598, with guidance = 1 + w.
    """
    variables = {"params": weights}

    def predict(x: Float[Array, "B H W C"], t: Int[Array, "B"]) -> Float[Array, "B H W C"]:
        if labels is None or guidance == 1:
            return unet.apply(variables, x, t, labels)
        hidden = jnp.full_like(labels, unet.num_classes)
        both = (jnp.concatenate(pair) for pair in ((x, x), (t, t), (labels, hidden)))
        of_class, of_none = jnp.split(unet.apply(variables, *both), 2)
        return of_none + guidance * (of_class - of_none)

    return predict
