"""Training steps and whole sampling chains beside the twin."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxvit.objectives.diffusion import Variance, make_jumps, make_schedule
from jaxvit.objectives.samplers import ancestral_sample, ddim_sample
from jaxvit.tasks.sampling import make_guided
from parity_tests.comparison import RATIO, to_nchw, to_nhwc
from parity_tests.evidence import distance
from parity_tests.survey.generators import CLASSES, unet_twins
from parity_tests.survey.replayed import PROGRAMS, train_ddpm
from torch_ref.survey import ddpm
from torch_ref.survey.diffusion import Diffusion

STEPS = 20
LABELS = torch.tensor([0, 3, 1])


@pytest.mark.slow
def test_ten_steps_are_as_close_to_float64_as_torch():
    run = train_ddpm(10)
    for name, values in run.values.items():
        row = distance(name, *(values[program] for program in PROGRAMS))
        assert row.value <= 2 * RATIO or row.holds, row  # of ten steps alone


def noises() -> torch.Tensor:
    return torch.randn(STEPS + 1, 3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("variance", get_args(Variance))
def test_an_ancestral_chain_from_replayed_noise_is_the_twins(variance):
    net, unet, params = unet_twins()
    drawn = jnp.stack([to_nhwc(each) for each in noises()])
    predict = make_guided(unet, params, jnp.asarray(LABELS.numpy()), 1.0)
    schedule = make_schedule("linear", STEPS)
    chain = jax.jit(lambda drawn: ancestral_sample(predict, schedule, lambda i: drawn[i], variance))
    diffusion = Diffusion(STEPS)
    theirs = ddpm.ancestral_sample(net, diffusion, noises(), LABELS, variance)
    truth = ddpm.ancestral_sample(net.double(), diffusion, noises().double(), LABELS, variance)
    row = distance("chain", to_nchw(chain(drawn)), theirs, truth)
    assert row.holds, row


@pytest.mark.parametrize("guidance", [1.0, 2.5, 0.0])
def test_ddim_with_and_without_guidance_is_the_twins(guidance):
    net, unet, params = unet_twins()
    schedule, jumps = make_schedule("linear", 100), make_jumps("linear", 100, 10)
    noise = noises()[0]
    predict = make_guided(unet, params, jnp.asarray(LABELS.numpy()), guidance)
    ours = jax.jit(lambda x: ddim_sample(predict, schedule, jumps, lambda i: x))(to_nhwc(noise))
    arguments = (Diffusion(100),), (10, LABELS, guidance, CLASSES)
    theirs = ddpm.ddim_sample(net, *arguments[0], noise, *arguments[1])
    truth = ddpm.ddim_sample(net.double(), *arguments[0], noise.double(), *arguments[1])
    row = distance("ddim", to_nchw(ours), theirs, truth)
    assert row.holds or row.details["jax_max"] < 1e-6, row


@pytest.mark.slow
def test_guidance_moves_from_no_class_to_the_class_and_beyond():
    net, unet, params = unet_twins()
    x, t = noises()[0], 7
    with torch.no_grad():
        times = torch.full((3,), t)
        of_class, of_none = net(x, times, LABELS), net(x, times, torch.full((3,), CLASSES))
    for guidance in (0.0, 1.0, 3.0):
        expected = of_none + guidance * (of_class - of_none)
        found = ddpm.predict_noise(net, x, t, LABELS, guidance, CLASSES)
        assert torch.allclose(found, expected, atol=1e-4)
        predict = make_guided(unet, params, jnp.asarray(LABELS.numpy()), guidance)
        np.testing.assert_allclose(
            to_nchw(predict(to_nhwc(x), jnp.full(3, t))), expected, atol=1e-4
        )
