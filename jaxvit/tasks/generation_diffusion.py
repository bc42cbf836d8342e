"""DDPM: a network that predicts the noise in an image, and images made by taking it away."""

import jax
import jax.numpy as jnp
import optax

from jaxvit.augment.geometry import resized
from jaxvit.augment.normalize import normalize
from jaxvit.config import Config
from jaxvit.models.unet import UNet
from jaxvit.models.variables import init_variables
from jaxvit.objectives.diffusion import make_schedule, q_sample, simple_loss
from jaxvit.objectives.monitors import monitor_of
from jaxvit.shapes import Array, Float, Int
from jaxvit.tasks.generation import alarm, make_probe, make_real, row_keys, sketch
from jaxvit.tasks.sampling import make_sampler
from jaxvit.training.task import (
    Counts,
    Extra,
    Inputs,
    Metrics,
    Outputs,
    Params,
    Phase,
    Task,
    Weights,
)

HEADLINE = (("loss", ".4f"), ("kernel_distance", ".4f"))


def make_diffusion(
    unet: UNet,
    tx: optax.GradientTransformation,
    schedule: optax.Schedule,
    config: Config,
) -> Task:
    """The task of DDPM.

    loss = mean_b mean (eps - eps_theta(sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, t))^2, with t
    uniform in [0, T). Scoring computes it for each image with a t and noise of its own, the same at
    each validation, and makes an image for each of the split, of its class where images are made
    for one.

    Args:
      unet: the network.
      tx, schedule: see jaxvit.training.task.Phase.
      config: model, augment, diffusion, monitor, mean and std of the data.

    Source: Ho et al. 2020, arXiv:2006.11239. Torch twin: torch_ref/survey/ddpm.py.
    """
    options, size = config.diffusion, unet.img_size
    noising = make_schedule(options.schedule, options.steps)
    real = make_real(config, size)
    sampler = make_sampler(unet, config)
    conditional = config.model.conditional

    def losses(
        params: Params,
        images: Float[Array, "B H W C"],
        t: Int[Array, "B"],
        noise: Float[Array, "B H W C"],
        labels: Int[Array, "B"] | None,
        key: jax.Array | None = None,
    ) -> Float[Array, "B"]:
        """Of each image; for training, with a key for dropout."""
        noisy = q_sample(noising, images, t, noise)
        rngs = None if key is None else {"dropout": key}
        return simple_loss(
            unet.apply({"params": params}, noisy, t, labels, key is None, rngs=rngs), noise
        )

    def prepare(key: jax.Array, batch: dict) -> Inputs:
        keys = jax.random.split(key, 4)
        images = real(keys[0], batch)
        inputs = {
            "images": images,
            "t": jax.random.randint(keys[1], (len(images),), 0, options.steps),
            "noise": jax.random.normal(keys[2], images.shape),
        }
        if conditional:
            hidden = jax.random.bernoulli(keys[3], options.hide_class, (len(images),))
            inputs["labels"] = jnp.where(hidden, unet.num_classes, batch["label"])
        return inputs

    def loss(
        params: Params, extra: Extra, key: jax.Array, inputs: Inputs
    ) -> tuple[jax.Array, tuple[Extra, Metrics]]:
        parts = (inputs[name] for name in ("images", "t", "noise"))
        return losses(params, *parts, inputs.get("labels"), key).mean(), (extra, {})

    def score(weights: Weights, key: jax.Array, batch: dict) -> tuple[Counts, Outputs]:
        keys = jax.vmap(lambda key: jax.random.split(key, 3))(row_keys(key, batch["index"]))
        images = resized(normalize(batch["image"], config.data.mean, config.data.std), size)
        t = jax.vmap(lambda key: jax.random.randint(key, (), 0, options.steps))(keys[:, 0])
        noise = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))(keys[:, 1])
        labels = batch["label"] if conditional else None
        found = losses(weights, images, t, noise, labels)
        counts = {
            "loss": jnp.where(batch["mask"], found, 0).sum(),
            "images": batch["mask"].sum(),
        }
        return counts, {"samples": sampler(weights, keys[:, 2], batch["label"])}

    return Task(
        init=lambda key: init_variables(unet, key),
        prepare=prepare,
        phases=(Phase(loss, tx, schedule),),
        weights=lambda params, extra: params,
        score=score,
        metrics=lambda counts: {"loss": float(counts["loss"] / counts["images"])},
        monitor=monitor_of(config.method, config.monitor),
        headline=HEADLINE,
        uses_index=True,
        probe=make_probe(conditional),
        sketch=sketch,
        alarm=alarm,
    )
