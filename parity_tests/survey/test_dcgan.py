"""DCGAN's networks against float64 and the twin, and both resampling convolutions."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from jaxvit.models import dcgan
from jaxvit.models.resampling import double, halve, reference_double, reference_halve
from parity_tests.comparison import max_difference, to_nchw, to_nhwc
from parity_tests.evidence import distance
from parity_tests.survey.generators import (
    CLASSES,
    SIZE,
    Z,
    gan_twins,
    gradients_of,
    ported,
    random_images,
    statistics_of,
    vector,
)
from torch_ref.survey import dcgan as torch_dcgan


@pytest.mark.parametrize("size", [4, 8, 10])
def test_halving_and_doubling_are_torchs_and_their_references(size):
    torch.manual_seed(0)
    x = torch.randn(3, 5, size, size)
    conv, transposed = nn.Conv2d(5, 6, 4, 2, 1, bias=False), nn.ConvTranspose2d(5, 6, 4, 2, 1)
    kernel = jnp.asarray(conv.weight.detach().permute(2, 3, 1, 0).numpy())
    expected = conv(x).detach()
    assert max_difference(to_nchw(halve(to_nhwc(x), kernel)), expected) < 1e-5
    assert max_difference(to_nchw(reference_halve(to_nhwc(x), kernel)), expected) < 1e-5
    kernel = jnp.asarray(transposed.weight.detach().permute(2, 3, 0, 1).numpy())
    expected = (transposed(x) - transposed.bias[:, None, None]).detach()
    assert max_difference(to_nchw(double(to_nhwc(x), kernel)), expected) < 1e-5
    assert max_difference(to_nchw(reference_double(to_nhwc(x), kernel)), expected) < 1e-5


@pytest.mark.parametrize("function", [(halve, reference_halve), (double, reference_double)])
def test_gradients_of_the_fast_paths_are_those_of_their_references(function):
    rng = np.random.default_rng(0)
    x, kernel, weights = (
        jnp.asarray(rng.normal(size=shape), jnp.float32)
        for shape in ((2, 8, 8, 3), (4, 4, 3, 5), (5,))
    )

    def loss(apply, x, kernel):
        return jnp.sin(apply(x, kernel) @ weights).sum()

    gradients = jax.jit(jax.grad(loss, (1, 2)), static_argnums=0)
    found, expected = (gradients(each, x, kernel) for each in function)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, expected
    )


@pytest.mark.parametrize("size", [8, SIZE])
@pytest.mark.parametrize("classes", [0, CLASSES])
def test_both_networks_are_as_close_to_float64_as_torch(size, classes):
    labels = torch.arange(9) % CLASSES if classes else None
    z = torch.randn(9, Z, generator=torch.Generator().manual_seed(1))
    inputs = {"generator": z, "discriminator": random_images(9, size)}
    twins = gan_twins(size, classes)
    for (name, x), (theirs, ours, variables) in zip(inputs.items(), twins, strict=True):
        given = jnp.asarray(z.numpy()) if name == "generator" else to_nhwc(x)
        numbers = None if labels is None else jnp.asarray(labels.numpy())
        drawn = jax.eval_shape(ours.init, jax.random.key(0), given, numbers)
        assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(jnp.shape, variables)

        def loss(params, ours=ours, variables=variables, given=given, numbers=numbers):
            made, new = ours.apply(
                variables | {"params": params}, given, numbers, False, mutable=["batch_stats"]
            )
            return jnp.sin(2 * made).mean(), (made, new)

        grads, (made, stats) = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
        tested = jax.jit(ours.apply)(variables | stats, given, numbers)
        found = [to_nchw(each) if each.ndim == 4 else each for each in (made, tested)]
        found += [vector(grads), vector(stats.get("batch_stats", {}))]
        sides = []
        for dtype in (torch.float32, torch.float64):
            net = copy.deepcopy(theirs).to(dtype).train()
            out = net(x.to(dtype), labels)
            torch.sin(2 * out).mean().backward()
            numbers_of = [out.detach(), net.eval()(x.to(dtype), labels).detach()]
            sides.append([*numbers_of, gradients_of(net), statistics_of(net)])
        for part, *values in zip(
            ("training", "evaluation", "gradient", "statistics"), found, *sides, strict=True
        ):
            if not values[-1].size:  # at 8 pixels the discriminator has no BatchNorm
                continue
            row = distance(f"{name}: {part}", *values)
            # Few numbers of one size: PyTorch is now and then within a tenth of float32's rounding.
            assert row.holds or row.details["jax_max"] < 5e-7, row


def test_shapes_and_numbers_of_parameters_are_the_papers():
    """At 64 pixels, width 64: z of 100 to maps of 512, 256, 128 and 64 channels."""
    generator = dcgan.Generator(64, 3, 64)
    drawn = jax.jit(generator.init)(jax.random.key(0), jnp.zeros((1, 100)))["params"]
    assert [drawn["project"]["kernel"].shape] == [(4, 4, 100, 512)]
    assert [drawn[f"ups_{i}"]["kernel"].shape[2:] for i in range(3)] == [
        (512, 256), (256, 128), (128, 64),
    ]  # fmt: skip
    # PyTorch's tutorial has 3,576,704 and 2,765,568, without the biases of the last layers.
    assert sum(leaf.size for leaf in jax.tree.leaves(drawn)) == 3_576_704 + 3
    images = jnp.zeros((1, 64, 64, 3))
    drawn = jax.jit(dcgan.Discriminator(64, 3, 64).init)(jax.random.key(0), images)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(drawn)) == 2_765_568 + 64 + 1


def test_initial_values_are_the_papers():
    generator = dcgan.Generator(32, 3, 32)
    drawn = jax.jit(generator.init)(jax.random.key(0), jnp.zeros((1, 100)))["params"]
    theirs = ported(torch_dcgan.Generator(32, 3, 32).state_dict())["params"]
    for params in (drawn, theirs):
        assert float(params["ups_0"]["kernel"].std()) == pytest.approx(0.02, rel=0.02)
        assert float(params["project"]["kernel"].std()) == pytest.approx(0.02, rel=0.02)
        assert float(params["norms_0"]["scale"].mean()) == pytest.approx(1, abs=0.01)
        assert float(params["norms_0"]["scale"].std()) == pytest.approx(0.02, rel=0.3)
        assert not np.any(params["norms_0"]["bias"])
        assert not np.any(params["to_image"]["bias"])


def test_a_class_changes_the_image_and_its_judgement():
    (_, generator, weights), (_, discriminator, judge) = gan_twins()
    z, labels = jnp.ones((2, Z)), jnp.array([0, 3])
    images = jax.jit(generator.apply)(weights, z, labels)
    assert np.abs(images[0] - images[1]).max() > 1e-3
    logits = jax.jit(discriminator.apply)(judge, images[:1].repeat(2, axis=0), labels)
    assert abs(float(logits[0] - logits[1])) > 1e-3
