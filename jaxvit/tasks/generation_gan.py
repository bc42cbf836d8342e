"""A GAN: a generator and a discriminator, updated in turn."""

import jax
import optax

from jaxvit.config import Config
from jaxvit.models.batch_norm import statistics_of_batch
from jaxvit.models.dcgan import Discriminator, Generator
from jaxvit.models.variables import init_variables, joined, split
from jaxvit.objectives.adversarial import discriminator_loss, generator_loss
from jaxvit.objectives.monitors import monitor_of
from jaxvit.shapes import Array
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

HEADLINE = (("kernel_distance", ".4f"), ("diversity", ".2f"))


def make_gan(
    generator: Generator,
    discriminator: Discriminator,
    tx: optax.GradientTransformation,
    schedule: optax.Schedule,
    config: Config,
    axis: str | None = None,
) -> Task:
    """The task of a DCGAN.

    A step updates the discriminator, by -log s(D(x)) - log(1 - s(D(G(z)))), and then the generator,
    by -log s(D(G(z))) of the same z and the updated discriminator. Real and generated images are
    batches of their own to BatchNorm. The generator's running statistics move once a step, the
    discriminator's by each batch that it sees.

    What is averaged, scored and saved for use is the generator with its statistics. Scoring makes
    an image for each of the split, of its class where images are made for one.

    Args:
      generator, discriminator: with the same axis.
      tx, schedule: of both; see jaxvit.training.task.Phase.
      config: model, augment, monitor, mean and std of the data.
      axis: the pmap axis of batch statistics; None under jit.

    Source: Radford et al. 2015, arXiv:1511.06434. Torch twin: torch_ref/survey/adversarial.py.
    """
    real = make_real(config, generator.img_size)
    sampler = make_sampler(generator, config)
    conditional = config.model.conditional

    def init(key: jax.Array) -> tuple[Params, Extra]:
        networks = {"generator": generator, "discriminator": discriminator}
        keys = jax.random.split(key)
        drawn = {
            name: init_variables(network, key)
            for (name, network), key in zip(networks.items(), keys, strict=True)
        }
        params = {name: params for name, (params, _) in drawn.items()}
        return params, {name: extra for name, (_, extra) in drawn.items()}

    def prepare(key: jax.Array, batch: dict) -> Inputs:
        keys = jax.random.split(key)
        z = jax.random.normal(keys[1], (len(batch["label"]), generator.z_dim))
        return {"images": real(keys[0], batch), "z": z, "labels": batch["label"]}

    def generate(
        params: Params, extra: Extra, inputs: Inputs, network: Generator = generator
    ) -> tuple[Array, Extra]:
        variables = {"params": params, **extra}
        labels = inputs["labels"] if conditional else None
        return network.apply(variables, inputs["z"], labels, False, mutable=list(extra))

    def judge(params: Params, extra: Extra, images: Array, inputs: Inputs) -> tuple[Array, Extra]:
        variables = {"params": params, **extra}
        labels = inputs["labels"] if conditional else None
        return discriminator.apply(variables, images, labels, False, mutable=list(extra))

    def of_discriminator(
        params: Params, extra: Extra, key: jax.Array, inputs: Inputs
    ) -> tuple[jax.Array, tuple[Extra, Metrics]]:
        fake, _ = generate(params["generator"], extra["generator"], inputs)
        judged, stats = params["discriminator"], extra["discriminator"]
        of_real, stats = judge(judged, stats, inputs["images"], inputs)
        of_fake, stats = judge(judged, stats, fake, inputs)
        found = {
            "of_real": jax.nn.sigmoid(of_real).mean(),
            "of_fake": jax.nn.sigmoid(of_fake).mean(),
        }
        loss = discriminator_loss(of_real, of_fake).mean()
        return loss, ({**extra, "discriminator": stats}, found)

    def of_generator(
        params: Params, extra: Extra, key: jax.Array, inputs: Inputs
    ) -> tuple[jax.Array, tuple[Extra, Metrics]]:
        fake, made = generate(params["generator"], extra["generator"], inputs)
        logits, stats = judge(params["discriminator"], extra["discriminator"], fake, inputs)
        return generator_loss(logits).mean(), ({"generator": made, "discriminator": stats}, {})

    def statistics(weights: Weights, inputs: Inputs) -> Extra:
        params, extra = split(weights)

        def update(network: Generator, running: Extra) -> Extra:
            return generate(params, running, inputs, network)[1]

        return statistics_of_batch(generator, extra, update)

    def score(weights: Weights, key: jax.Array, batch: dict) -> tuple[Counts, Outputs]:
        samples = sampler(weights, row_keys(key, batch["index"]), batch["label"])
        return {"images": batch["mask"].sum()}, {"samples": samples}

    return Task(
        init=init,
        prepare=prepare,
        phases=(
            Phase(of_discriminator, tx, schedule, "discriminator"),
            Phase(of_generator, tx, schedule, "generator"),
        ),
        weights=lambda params, extra: joined(params["generator"], extra["generator"]),
        score=score,
        metrics=lambda counts: {},
        monitor=monitor_of(config.method, config.monitor),
        headline=HEADLINE,
        couples=True,
        axis=axis,
        uses_index=True,
        probe=make_probe(conditional),
        statistics=statistics,
        sketch=sketch,
        alarm=alarm,
    )
