"""Schedules, the loss and both samplers against float64, the twin and diffusers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.schedulers import scheduling_ddpm

from jaxvit.objectives import diffusion
from jaxvit.objectives.diffusion import ancestral_step, ddim_step, make_jumps, make_schedule
from parity_tests.comparison import max_difference, to_nchw, to_nhwc
from parity_tests.evidence import distance
from torch_ref.survey.diffusion import Diffusion, simple_loss

THEIRS = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
STEPS, SHAPE = 1000, (4, 3, 6, 6)


def drawn(number: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(SHAPE, generator=generator) for _ in range(number)]


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("steps", [1000, 100])
def test_coefficients_are_rounded_once(name, steps):
    twin = Diffusion(steps, name)
    beta, bar, before = twin.beta, twin.bar, twin.bar_before
    truth = {
        "signal": bar.sqrt(),
        "noise": (1 - bar).sqrt(),
        "posterior_x0": before.sqrt() * beta / (1 - bar),
        "posterior_xt": (1 - beta).sqrt() * (1 - before) / (1 - bar),
        "small": (beta * (1 - before) / (1 - bar)).sqrt(),
        "large": beta.sqrt(),
    }
    found = make_schedule(name, steps)._asdict()
    for part, expected in truth.items():
        np.testing.assert_allclose(found[part], expected, rtol=1.3e-7, atol=1e-12, err_msg=part)
    assert found["small"][0] == 0
    assert found["posterior_xt"][0] == 0
    assert float(bar[-1]) < 1e-3


@pytest.mark.parametrize("name", THEIRS)
def test_noise_is_that_of_diffusers(name):
    theirs = DDPMScheduler(STEPS, beta_schedule=THEIRS[name])
    np.testing.assert_allclose(diffusion.betas(name, STEPS), theirs.betas, rtol=2e-5)
    x0, noise = drawn(2)
    t = torch.tensor([0, 17, 500, 999])
    ours = diffusion.q_sample(
        make_schedule(name, STEPS), to_nhwc(x0), jnp.asarray(t.numpy()), to_nhwc(noise)
    )
    truth = Diffusion(STEPS, name).add_noise(x0.double(), t, noise.double())
    row = distance("x_t", to_nchw(ours), theirs.add_noise(x0, noise, t), truth)
    assert row.holds, row


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("t", [999, 400, 1, 0])
def test_a_step_back_is_that_of_diffusers_and_the_twins(name, variance, t, monkeypatch):
    xt, eps, noise = drawn(3)
    theirs = DDPMScheduler(
        STEPS, beta_schedule=THEIRS[name], variance_type=f"fixed_{variance}", clip_sample=True
    )
    monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *args, **options: noise)
    library = theirs.step(eps, t, xt).prev_sample
    times = jnp.full(len(xt), t)
    ours = ancestral_step(
        make_schedule(name, STEPS), to_nhwc(xt), times, to_nhwc(eps), to_nhwc(noise), variance
    )
    twin = Diffusion(STEPS, name)
    truth = twin.step_back(xt.double(), t, eps.double(), noise.double(), variance)
    row = distance("x_{t-1}", to_nchw(ours), twin.step_back(xt, t, eps, noise, variance), truth)
    assert row.holds, row
    # diffusers computes 1 - abar in float32.
    assert max_difference(library, truth) < 5e-3 * float(truth.abs().max())


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("number", [50, 7])
def test_jumps_are_those_of_diffusers_and_the_twins(eta, number):
    xt, eps, noise = drawn(3)
    theirs = DDIMScheduler(STEPS, beta_schedule="linear", set_alpha_to_one=True)
    theirs.set_timesteps(number)
    schedule, jumps = make_schedule("linear", STEPS), make_jumps("linear", STEPS, number, eta)
    if STEPS % number == 0:  # otherwise diffusers begins far from the last time
        assert jumps.times.tolist() == theirs.timesteps.tolist()
    assert STEPS - int(jumps.times[0]) <= -(-STEPS // number)
    twin, ends = Diffusion(STEPS), [*jumps.times.tolist()[1:], -1]
    for index in (0, number // 2, number - 1):
        t, to = int(jumps.times[index]), ends[index]
        ours = ddim_step(schedule, jumps, to_nhwc(xt), index, to_nhwc(eps), to_nhwc(noise))
        truth = twin.jump(xt.double(), t, to, eps.double(), noise.double(), eta)
        row = distance("x", to_nchw(ours), twin.jump(xt, t, to, eps, noise, eta), truth)
        assert row.value <= 3 or max_difference(to_nchw(ours), truth) < 1e-5, row
        if STEPS % number == 0:
            library = theirs.step(
                eps, t, xt, eta=eta, use_clipped_model_output=True, variance_noise=noise
            ).prev_sample
            assert max_difference(library, truth) < 2e-2 * float(truth.abs().max())


def test_the_last_jump_ends_with_the_image_and_eta_0_draws_nothing():
    jumps = make_jumps("cosine", STEPS, 25)
    assert int(jumps.times[-1]) == 0
    assert (float(jumps.x0[-1]), float(jumps.eps[-1])) == (1, 0)
    assert not np.any(jumps.noise)
    assert np.any(make_jumps("cosine", STEPS, 25, 1.0).noise)


def test_a_whole_chain_from_replayed_noise_is_the_twins():
    """With a network that sees a share of x_t as noise."""
    steps = 60
    schedule, twin = make_schedule("linear", steps), Diffusion(steps)
    noises = torch.randn(steps + 1, *SHAPE, generator=torch.Generator().manual_seed(1))

    @jax.jit
    def chain(noises):
        def back(x, number):
            t = jnp.full(SHAPE[0], steps - 1 - number)
            return ancestral_step(schedule, x, t, 0.6 * x, noises[number + 1]), None

        return jax.lax.scan(back, noises[0], jnp.arange(steps))[0]

    ours = chain(jnp.stack([to_nhwc(each) for each in noises]))

    def in_torch(noises: torch.Tensor) -> torch.Tensor:
        x = noises[0]
        for number in range(steps):
            x = twin.step_back(x, steps - 1 - number, 0.6 * x, noises[number + 1])
        return x

    row = distance("chain", to_nchw(ours), in_torch(noises), in_torch(noises.double()))
    assert row.holds, row


def test_the_loss_is_the_twins():
    a, b = drawn(2)
    found = diffusion.simple_loss(to_nhwc(a), to_nhwc(b))
    assert found.shape == (SHAPE[0],)
    assert float(found.mean()) == pytest.approx(float(simple_loss(a, b)), rel=1e-6)
    half = diffusion.simple_loss(to_nhwc(a).astype(jnp.bfloat16), to_nhwc(b))
    assert half.dtype == jnp.float32
