"""Claim 18: DCGAN and DDPM are the twins', in their networks, steps and samples."""

import copy
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import torch

from jaxvit.objectives.diffusion import Variance, betas, make_jumps, make_schedule
from jaxvit.objectives.samplers import ancestral_sample, ddim_sample
from jaxvit.tasks.sampling import make_guided
from parity_tests.comparison import to_nchw, to_nhwc
from parity_tests.evidence import Evidence, Row, at_most, distance
from parity_tests.survey.generators import (
    CHANNELS,
    CLASSES,
    SIZE,
    Z,
    gan_twins,
    gradients_of,
    random_images,
    statistics_of,
    unet_twins,
    vector,
)
from parity_tests.survey.replayed import PROGRAMS, train_ddpm, train_gan
from torch_ref.survey import ddpm
from torch_ref.survey.diffusion import Diffusion

TITLE = "Generated images: DCGAN's and DDPM's networks, their steps, and whole sampling chains"
BATCH, TYPES = 32, (torch.float32, torch.float64)
LABELS = torch.arange(BATCH) % CLASSES


def measure(quick: bool) -> Evidence:
    rows = [*gan_networks(), *unet(), *schedules(), *chains(20 if quick else 200)]
    for name, train, steps in (("GAN", train_gan, 50), ("DDPM", train_ddpm, 20)):
        steps = 10 if quick else steps
        for what, values in train(steps).values.items():
            rows.append(distance(f"{name}, {steps} steps: {what}", *(values[p] for p in PROGRAMS)))
    notes = [
        "All three programs take the same batches and the same noise, which JAX draws.",
        "That the U-Net and the schedules are those of diffusers is a test, of float32 alone: "
        "diffusers computes the angles of times and 1 - abar in float32.",
    ]
    return Evidence(rows, notes=notes)


def gan_networks() -> list[Row]:
    """Outputs, gradients of a function of them, and running statistics of both networks."""
    rows = []
    inputs = {
        "generator": torch.randn(BATCH, Z, generator=torch.Generator().manual_seed(1)),
        "discriminator": random_images(BATCH),
    }
    for (name, x), (theirs, ours, variables) in zip(inputs.items(), gan_twins(), strict=True):
        given = to_nhwc(x) if x.ndim == 4 else jnp.asarray(x.numpy())

        def loss(params, ours=ours, variables=variables, given=given):
            made, new = ours.apply(
                variables | {"params": params}, given, LABELS.numpy(), False,
                mutable=["batch_stats"],
            )  # fmt: skip
            return jnp.sin(2 * made).mean(), (made, new)

        grads, (made, new) = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
        tested = ours.apply(variables | new, given, LABELS.numpy())
        found = [to_nchw(each) if each.ndim == 4 else each for each in (made, tested)]
        found += [vector(grads), vector(new["batch_stats"])]
        sides = []
        for dtype in TYPES:
            net = copy.deepcopy(theirs).to(dtype).train()
            out = net(x.to(dtype), LABELS)
            torch.sin(2 * out).mean().backward()
            evaluated = net.eval()(x.to(dtype), LABELS).detach()
            sides.append([out.detach(), evaluated, gradients_of(net), statistics_of(net)])
        parts = ("training", "evaluation", "gradient", "statistics")
        for part, *values in zip(parts, found, *sides, strict=True):
            rows.append(distance(f"DCGAN's {name}: {part}", *values))
    return rows


def unet() -> list[Row]:
    """The predicted noise, and gradients of a function of it."""
    theirs, ours, params = unet_twins()
    images, t = random_images(BATCH), torch.arange(BATCH) * 31

    def loss(params):
        noise = ours.apply({"params": params}, to_nhwc(images), t.numpy(), LABELS.numpy())
        return jnp.sin(2 * noise).mean(), noise

    grads, noise = jax.jit(jax.grad(loss, has_aux=True))(params)
    sides = []
    for dtype in TYPES:
        net = copy.deepcopy(theirs).to(dtype)
        out = net(images.to(dtype), t, LABELS)
        torch.sin(2 * out).mean().backward()
        sides.append((out.detach(), gradients_of(net)))
    found = (to_nchw(noise), vector(grads))
    return [
        distance(f"U-Net: {part}", *values)
        for part, *values in zip(("noise", "gradient"), found, *sides, strict=True)
    ]


def schedules() -> list[Row]:
    """Each coefficient beside float64, in units of float32's rounding."""
    rows = []
    for name in ("linear", "cosine"):
        beta = betas(name, 1000)
        bar = np.cumprod(1 - beta)
        before = np.concatenate([[1.0], bar[:-1]])
        truth = {
            "signal": np.sqrt(bar),
            "noise": np.sqrt(1 - bar),
            "posterior_x0": np.sqrt(before) * beta / (1 - bar),
            "posterior_xt": np.sqrt(1 - beta) * (1 - before) / (1 - bar),
            "small": np.sqrt(beta * (1 - before) / (1 - bar)),
            "large": np.sqrt(beta),
        }
        for part, values in make_schedule(name, 1000)._asdict().items():
            expected = truth[part]
            error = np.abs(np.asarray(values, np.float64) - expected)
            relative = error / np.maximum(np.abs(expected), 1e-30)
            limit = 2.0**-23
            quantity = f"schedule {name}: {part}"
            rows.append(at_most(quantity, "largest relative error", relative.max(), limit))
    return rows


def chains(steps: int) -> list[Row]:
    """Images from replayed noise, by both samplers, with and without guidance."""
    net, ours, params = unet_twins()
    number = 4
    labels = LABELS[:number]
    generator = torch.Generator().manual_seed(0)
    noises = torch.randn(steps + 1, number, CHANNELS, SIZE, SIZE, generator=generator)
    drawn = jnp.stack([to_nhwc(each) for each in noises])
    schedule, diffusion = make_schedule("linear", steps), Diffusion(steps)
    predict = make_guided(ours, params, jnp.asarray(labels.numpy()), 1.0)
    rows = []
    for variance in get_args(Variance):

        @jax.jit
        def ancestral(drawn, variance=variance):
            return ancestral_sample(predict, schedule, lambda i: drawn[i], variance)

        sides = [
            ddpm.ancestral_sample(
                copy.deepcopy(net).to(dtype), diffusion, noises.to(dtype), labels, variance
            )
            for dtype in TYPES
        ]
        quantity = f"ancestral chain of {steps} steps, {variance} variance"
        rows.append(distance(quantity, to_nchw(ancestral(drawn)), *sides))
    jumps = make_jumps("linear", steps, 10)
    for guidance in (1.0, 2.5):
        guided = make_guided(ours, params, jnp.asarray(labels.numpy()), guidance)
        chain = jax.jit(lambda x, guided=guided: ddim_sample(guided, schedule, jumps, lambda i: x))
        sides = [
            ddpm.ddim_sample(
                copy.deepcopy(net).to(dtype), diffusion, noises[0].to(dtype), 10, labels, guidance,
                CLASSES,
            )
            for dtype in TYPES
        ]  # fmt: skip
        found = to_nchw(chain(drawn[0]))
        rows.append(distance(f"DDIM, 10 jumps, guidance {guidance:g}", found, *sides))
    return rows
