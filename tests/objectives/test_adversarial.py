"""The adversarial losses against PyTorch's, also where they are extreme."""

import jax
import numpy as np
import torch
import torch.nn.functional as F

from jaxvit.objectives.adversarial import discriminator_loss, generator_loss

REAL = np.array([-500.0, -2.0, 0.0, 0.5, 90.0], np.float32)
FAKE = np.array([400.0, 1.0, -3.0, 0.0, -80.0], np.float32)


def in_torch(real, fake):
    real, fake = (
        torch.tensor(each, dtype=torch.float64, requires_grad=True) for each in (real, fake)
    )
    bce = F.binary_cross_entropy_with_logits
    ones, zeros = torch.ones_like(real), torch.zeros_like(real)
    discriminator = bce(real, ones, reduction="none") + bce(fake, zeros, reduction="none")
    generator = bce(fake, ones, reduction="none")
    grads = [
        *torch.autograd.grad(discriminator.sum(), (real, fake), retain_graph=True),
        *torch.autograd.grad(generator.sum(), (fake,)),
    ]
    return [each.detach().numpy() for each in (discriminator, generator, *grads)]


def test_both_losses_and_their_gradients_are_pytorchs_cross_entropy():
    ours = [
        discriminator_loss(REAL, FAKE),
        generator_loss(FAKE),
        *jax.grad(lambda r, f: discriminator_loss(r, f).sum(), (0, 1))(REAL, FAKE),
        jax.grad(lambda f: generator_loss(f).sum())(FAKE),
    ]
    for found, expected in zip(ours, in_torch(REAL, FAKE), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_the_generators_loss_falls_where_it_is_believed():
    believed, seen_through = generator_loss(np.float32([5, -5]))
    assert believed < 0.01 < 4 < seen_through
    assert np.all(np.abs(jax.grad(lambda f: generator_loss(f).sum())(np.float32([-20.0]))) > 0.9)
