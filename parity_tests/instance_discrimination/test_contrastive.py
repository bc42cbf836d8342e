"""Both losses and their gradients against float64, also where they are extreme; and the defects."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jaxvit.objectives.contrastive import contrastive_loss, instance_logits, unit_length
from jaxvit.objectives.losses import soft_target_cross_entropy
from jaxvit.objectives.targets import smooth_labels
from parity_tests.evidence import distance
from parity_tests.instance_discrimination.cases import (
    ALONE,
    CASES,
    INSTANCE_CASES,
    INSTANCE_PARTS,
    in_torch,
    instance_loss,
    instance_loss_in_torch,
    views,
)
from torch_ref.instance_discrimination import contrastive as twin


@pytest.mark.parametrize("name", CASES)
def test_the_contrastive_loss_and_its_gradients_are_as_close_to_float64_as_torch(name):
    (a, b), index, temperature = CASES[name]

    def mean_loss(a, b):
        losses = contrastive_loss(a, b, index, temperature)
        return losses.mean(), losses

    gradients, loss = jax.jit(jax.grad(mean_loss, argnums=(0, 1), has_aux=True))(a, b)
    single, double = (in_torch(name, dtype) for dtype in (torch.float32, torch.float64))
    if name == "one image":  # no negative: nothing to learn
        assert not np.any(loss)
        assert not any(np.any(each) for each in gradients)
        return
    for part, found, in_float32, truth in zip(
        ("loss", "gradient of A", "gradient of B"), (loss, *gradients), single, double, strict=True
    ):
        row = distance(part, found, in_float32, truth)
        assert row.holds, row


def test_an_image_is_no_negative_of_its_duplicate():
    (a, b), index, temperature = CASES["duplicates"]
    loss = contrastive_loss(a, b, index, temperature)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    s = unit[0] @ unit[1].T / temperature
    for i in range(len(index)):
        others = [j for j in range(len(index)) if index[j] != index[i]]
        expected = np.log(np.exp(s[i, i]) + np.exp(s[i, others]).sum()) - s[i, i]
        assert loss[i] == pytest.approx(expected, rel=1e-5), i


def test_instance_discrimination_is_the_contrastive_loss_with_all_images_as_negatives():
    a, b = views(20)
    index = np.arange(20)
    logits = instance_logits(a, b, 0.2)
    of_instances = soft_target_cross_entropy(logits, smooth_labels(index, 20))
    np.testing.assert_allclose(of_instances, contrastive_loss(a, b, index, 0.2), atol=2e-6)


@pytest.mark.parametrize("name", INSTANCE_CASES)
def test_the_instance_loss_and_its_gradients_are_as_close_to_float64_as_torch(name):
    found = instance_loss(name)
    if name == ALONE:
        assert not any(np.any(each) for each in found)
        return
    single, double = (
        instance_loss_in_torch(name, dtype) for dtype in (torch.float32, torch.float64)
    )
    for part, *values in zip(INSTANCE_PARTS, found, single, double, strict=True):
        row = distance(part, *values)
        assert row.holds, row


def test_views_in_bfloat16_are_compared_in_float32():
    a, b = (jnp.asarray(each, jnp.bfloat16) for each in views(16))
    index = np.arange(16)
    found = contrastive_loss(a, b, index)
    assert found.dtype == jnp.float32
    rounded = contrastive_loss(a.astype(jnp.float32), b.astype(jnp.float32), index)
    assert np.array_equal(found, rounded)


def test_unit_length_is_torchs_and_has_a_gradient_at_zero():
    z = np.array([[3.0, 4.0], [0.0, 0.0], [1e-15, 0.0]], np.float32)
    expected = F.normalize(torch.tensor(z), dim=1)
    np.testing.assert_allclose(unit_length(z), expected, atol=1e-6)
    assert np.isfinite(jax.grad(lambda z: unit_length(z).sum())(z)).all()


def test_the_blogs_instance_loss_does_not_look_at_the_target():
    """Defect 1: minus the sum of the log of every probability."""
    logits = torch.tensor([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
    right, wrong = torch.tensor([0, 1]), torch.tensor([2, 2])

    def blogs(logits, index):
        return -logits.softmax(dim=1).log().sum()

    assert blogs(logits, right) == blogs(logits, wrong)
    assert blogs(torch.zeros(2, 3), right) < blogs(logits, right)  # uniform is its minimum
    fixed = twin.instance_discrimination_loss
    assert fixed(logits, right) < fixed(torch.zeros(2, 3), right) < fixed(logits, wrong)


def test_the_blogs_negatives_are_the_positive_pair():
    """Defects 3 and 4: the sum over others repeats index i, without exp and log, and one short."""

    def blogs(a, b):
        a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
        loss = 0.0
        for i in range(len(a)):
            loss = loss - a[i] @ b[i] + sum(a[i] @ b[i] for _ in range(len(a) - 1))
        return loss

    a = torch.tensor(views(6)[0])
    apart = torch.tensor(views(6, seed=5)[1])
    assert blogs(a, a) > blogs(a, apart)  # views of an image are pushed apart
    index = torch.arange(6)
    fixed = twin.contrastive_loss
    assert fixed(a, a, index).sum() < fixed(a, apart, index).sum()


def test_the_blogs_log_of_softmax_overflows():
    """Defect 5."""
    logits = torch.tensor([[0.0, 200.0]])
    assert not logits.softmax(dim=1).log().isfinite().all()
    assert twin.instance_discrimination_loss(logits, torch.tensor([0])) == 200
