"""ResNet-18 and -34 against torchvision's: outputs, gradients and running statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax.traverse_util import flatten_dict
from torch import nn
from torchvision import models

from jaxvit.models.batch_norm import BatchNorm
from jaxvit.models.resnet import make_resnet
from parity_tests.survey.small_models import (
    CLASSES,
    distances,
    ported,
    random_batch,
    to_torch,
    with_noise,
)
from torch_ref.survey.resnet import LAYERS, ResNet

BATCH, SIZE = 8, 64


def torchvision_model(name: str, stem: str) -> nn.Module:
    """torchvision's, with norms and statistics that are not at their initial values."""
    torch.manual_seed(0)
    model = getattr(models, name)(num_classes=CLASSES)
    if stem == "cifar":
        model.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        model.maxpool = nn.Identity()
    return with_noise(model)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("resnet18", "imagenet"),
        ("resnet18", "cifar"),
        pytest.param("resnet34", "imagenet", marks=pytest.mark.slow),
    ],
)
def test_it_is_as_close_to_float64_as_torchvision(name, stem):
    theirs = torchvision_model(name, stem)
    variables = ported(theirs.state_dict())
    model = make_resnet(name, CLASSES, img_size=SIZE, stem=stem)
    drawn = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 3)))
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(np.shape, variables)
    for row in distances(name, theirs, model, variables, random_batch(BATCH, SIZE)):
        # Of ResNet-34's pre-activations some lie within float32's rounding of ReLU's kink, in
        # PyTorch with some batches too: 2e-3 to 8e-3 of the gradient depend on their signs. Its
        # blocks are those of ResNet-18.
        assert row.holds or row.quantity == "resnet34: gradient", row


@pytest.mark.parametrize("side", [8, 16, 21])  # last maps of 1, 2 and 3 positions a side
def test_a_narrow_network_is_as_close_to_float64_as_its_twin(side):
    torch.manual_seed(0)
    theirs = with_noise(ResNet(LAYERS["resnet18"], CLASSES, "cifar", width=6))
    variables = ported(theirs.state_dict())
    model = make_resnet("resnet18", CLASSES, img_size=side, stem="cifar", width=6)
    drawn = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, side, side, 3)))
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(np.shape, variables)
    rows = distances("narrow", theirs, model, variables, random_batch(16, side))
    assert all(row.holds for row in rows), rows


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_the_twin_of_another_width_starts_as_one_of_torchvisions_width(stem):
    weight = ResNet(LAYERS["resnet18"], CLASSES, stem, width=16).layer4[1].conv1.weight.detach()
    assert weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)


@pytest.mark.parametrize(
    ("name", "stem"), [("resnet18", "imagenet"), ("resnet18", "cifar"), ("resnet34", "imagenet")]
)
def test_the_twin_is_torchvisions(name, stem):
    """Its logits on the same weights, its initial values, and a feature map of the told size."""
    theirs = torchvision_model(name, stem).eval()
    twin = ResNet(LAYERS[name], CLASSES, stem)
    twin.load_state_dict(theirs.state_dict())
    images = to_torch(random_batch(2, 40)[0], torch.float32)
    assert torch.equal(twin.eval()(images), theirs(images))
    feature_map = twin.feature_map(images)
    assert torch.allclose(twin.fc(feature_map.mean((2, 3))), theirs(images), atol=1e-5)
    jax_model = make_resnet(name, CLASSES, img_size=40, stem=stem)
    assert feature_map.shape[2:] == (twin.map_size(40),) * 2 == (jax_model.map_size,) * 2
    assert torch.equal(ResNet(LAYERS[name], 0, stem).fc(feature_map), feature_map)
    weight = ResNet(LAYERS[name], 0, stem).conv1.weight.detach()
    fan_out = 64 * weight.shape[2] ** 2
    assert float(weight.std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)


def test_resnet18_has_torchvisions_number_of_parameters_and_initial_values():
    init = jax.jit(make_resnet("resnet18", 1000, img_size=64).init)
    drawn = init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(drawn)) == 11_689_512
    theirs = ported(models.resnet18().state_dict())["params"]
    for path, leaf in flatten_dict(theirs).items():
        ours = np.asarray(flatten_dict(drawn)[path])
        if path[-1] == "kernel":
            assert abs(ours.std() / leaf.std() - 1) < 0.05, path
        elif path[0] != "fc":
            np.testing.assert_array_equal(ours, leaf)


def test_statistics_after_50_steps_are_torchs():
    """The mean, and the variance with the divisor n - 1, each with PyTorch's momentum."""
    rng = np.random.default_rng(0)
    theirs, ours = nn.BatchNorm2d(4), BatchNorm()
    variables = ours.init(jax.random.key(0), jnp.zeros((2, 3, 3, 4)), False)
    step = jax.jit(lambda variables, x: ours.apply(variables, x, False, mutable=["batch_stats"]))
    for _ in range(50):
        x = rng.normal(rng.normal(), 1 + rng.random(), (2, 3, 3, 4)).astype(np.float32)
        theirs(torch.tensor(x).permute(0, 3, 1, 2))
        _, new = step(variables, x)
        variables = variables | new
    stats = variables["batch_stats"]
    np.testing.assert_allclose(stats["mean"], theirs.running_mean.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stats["var"], theirs.running_var.numpy(), rtol=1e-5)


def test_statistics_under_pmap_are_those_of_the_whole_batch():
    devices = 4
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (8, 5, 5, 4)).astype(np.float32)
    whole, spread = BatchNorm(), BatchNorm(axis="devices")
    variables = whole.init(jax.random.key(0), x, False)
    y, new = whole.apply(variables, x, False, mutable=["batch_stats"])
    parts = jax.pmap(
        lambda x: spread.apply(variables, x, False, mutable=["batch_stats"]),
        "devices",
        devices=jax.devices()[:devices],
    )(x.reshape(devices, 2, 5, 5, 4))
    np.testing.assert_allclose(np.asarray(parts[0]).reshape(x.shape), y, atol=1e-5)
    for name in ("mean", "var"):
        found = parts[1]["batch_stats"][name]
        np.testing.assert_allclose(found, np.broadcast_to(new["batch_stats"][name], found.shape),
                                   rtol=1e-5)  # fmt: skip


def test_images_of_another_size_are_refused():
    model = make_resnet("resnet18", 5, img_size=32)
    with pytest.raises(ValueError, match="images of shape"):
        model.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
