"""Both losses of a GAN, and its steps beside the twin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jaxvit.objectives.adversarial import discriminator_loss, generator_loss
from parity_tests.comparison import RATIO
from parity_tests.evidence import distance
from parity_tests.survey.generators import CLASSES, Z, gan_twins, random_images, statistics_of
from parity_tests.survey.replayed import PROGRAMS, train_gan
from torch_ref.survey.adversarial import adversarial_step, make_optimizer

LOGITS = np.array([0.0, 3.0, -3.0, 120.0, -120.0], np.float32)


def test_losses_and_gradients_are_binary_cross_entropies():
    real, fake = (torch.tensor(x, requires_grad=True) for x in (LOGITS, LOGITS[::-1].copy()))
    ones, zeros = torch.ones(5), torch.zeros(5)
    cross_entropy = F.binary_cross_entropy_with_logits
    theirs = cross_entropy(real, ones, reduction="none") + cross_entropy(
        fake, zeros, reduction="none"
    )
    theirs.sum().backward()
    ours = discriminator_loss(jnp.array(LOGITS), jnp.array(LOGITS[::-1]))
    np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-6, atol=1e-7)
    found = jax.grad(lambda a, b: discriminator_loss(a, b).sum(), (0, 1))(
        jnp.array(LOGITS), jnp.array(LOGITS[::-1])
    )
    np.testing.assert_allclose(found[0], real.grad, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found[1], fake.grad, rtol=1e-6, atol=1e-7)
    expected = cross_entropy(torch.tensor(LOGITS), ones, reduction="none")
    np.testing.assert_allclose(generator_loss(jnp.array(LOGITS)), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_ten_steps_are_as_close_to_float64_as_torch():
    run = train_gan(10)
    for name, values in run.values.items():
        row = distance(name, *(values[program] for program in PROGRAMS))
        assert row.value <= 2 * RATIO or row.holds, row  # of ten steps alone
    first, last = (run.values["losses of the discriminator"]["jax"][i] for i in (0, -1))
    assert last < first


def test_a_step_moves_both_networks_and_the_generators_statistics_once():
    (generator, _, _), (discriminator, _, _) = gan_twins()
    before = statistics_of(generator), statistics_of(discriminator)
    weights = [[p.clone() for p in net.parameters()] for net in (generator, discriminator)]
    optimizers = make_optimizer(generator), make_optimizer(discriminator)
    z, labels = torch.randn(8, Z), torch.arange(8) % CLASSES
    with torch.no_grad():
        raw = torch.cat([z, F.one_hot(labels, CLASSES).float()], 1)
        maps = generator.project(raw[:, :, None, None])
    adversarial_step(generator, discriminator, optimizers, random_images(8), z, labels)
    for net, old in zip((generator, discriminator), weights, strict=True):
        assert all(not torch.equal(a, b) for a, b in zip(net.parameters(), old, strict=True))
    mean = generator.norms[0].running_mean
    expected = 0.1 * maps.mean((0, 2, 3))
    assert torch.allclose(mean, expected, atol=1e-6)
    assert not np.array_equal(before[1], statistics_of(discriminator))
    assert discriminator.norms[0].num_batches_tracked == 3  # real, generated, and once more
    assert optimizers[0].param_groups[0]["betas"] == (0.5, 0.999)
    assert optimizers[0].param_groups[0]["lr"] == pytest.approx(2e-4)
