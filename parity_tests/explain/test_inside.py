"""Methods that need a model's inside, against PyTorch's own modules and pytorch-grad-cam."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxvit import explain
from jaxvit.models.resnet import make_resnet
from parity_tests.comparison import twins
from parity_tests.evidence import distance
from parity_tests.explain import cases, inside
from parity_tests.survey.small_models import whole_twins


@pytest.fixture(scope="module")
def vit() -> cases.Case:
    return cases.small_vit()


DTYPES = (torch.float32, torch.float64)


def test_the_attention_map_is_the_class_tokens_mean_over_heads(vit):
    row = inside.row("attention_map", vit)
    assert row.holds, row


@pytest.mark.parametrize("pool", ["cls", "mean", "both"])
def test_rollout_multiplies_layers_with_their_residual_path(vit, pool):
    model = vit.model.clone(pool=pool, num_classes=0)
    found = explain.attention_rollout(model, vit.variables, vit.images)
    expected = (inside.rollout_of(inside.weights_of(vit, dtype), 3, pool) for dtype in DTYPES)
    row = distance("rollout", found, *expected)
    assert row.holds, row


def test_layers_come_in_their_order():
    """Eleven layers: as text, layers_10 would come before layers_2."""
    torch_model, model, params = twins(num_layers=11)
    case = cases.case("deep", torch_model.eval(), model, {"params": params}, cases.SIDE)
    found = explain.attention_map(model, {"params": params}, case.images)
    expected = inside.map_of(inside.weights_of(case, torch.float64), 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("number", [0, 1])
def test_grad_cam_of_a_vits_layer_is_pytorch_grad_cams(vit, number):
    def layer(model):
        return model.transformer_encoder.layers[number].norm1

    found = explain.grad_cam(
        vit.model, vit.variables, vit.images, vit.targets,
        layer=f"transformer_encoder/layers_{number}/norm1",
    )  # fmt: skip
    expected = (inside.cam_of(vit, layer, dtype, inside.as_map(3)) for dtype in DTYPES)
    row = distance("cam", found, *expected)
    assert row.holds, row
    if number == 1:
        default = explain.grad_cam(vit.model, vit.variables, vit.images, vit.targets)
        assert np.array_equal(default, found)


def test_grad_cam_of_a_model_that_recomputes_its_layers_is_the_same(vit):
    args = (vit.variables, vit.images, vit.targets)
    found = explain.grad_cam(vit.model.clone(remat=True), *args)
    assert np.array_equal(found, explain.grad_cam(vit.model, *args))


def test_a_noise_tunnel_takes_maps_too(vit):
    def attribute(images, targets):
        return explain.attention_rollout(vit.model, vit.variables, images)

    noise = explain.draw_noise_tunnel(jax.random.key(0), vit.images.shape, 3, 0.5)
    each = np.stack([attribute(vit.images + one, 0) for one in noise])
    for kind, expected in (
        ("smoothgrad", each.mean(axis=0)),
        ("smoothgrad_sq", (each**2).mean(axis=0)),
        ("vargrad", each.var(axis=0)),
    ):
        found = explain.apply_noise_tunnel(attribute, vit.images, 0, noise, kind)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)


def test_grad_cam_of_a_resnet_is_pytorch_grad_cams():
    case = cases.small_resnet(side=96)

    row = inside.row("grad_cam", case)
    assert row.holds, row
    assert inside.ours("grad_cam", case).shape == (3, 3, 3)


def test_a_class_token_leaves_the_last_layers_patches_without_gradient(vit):
    model = vit.model.clone(pool="cls", num_classes=cases.CLASSES)
    variables = jax.jit(model.init)(jax.random.key(0), vit.images)
    with pytest.raises(ValueError, match="do not depend on the patches of .*layers_1: choose an"):
        explain.grad_cam(
            model, variables, vit.images, vit.targets, layer="transformer_encoder/layers_1"
        )


def test_a_block_behind_a_resnet_has_all_three():
    _, model, variables = whole_twins("graph", False)
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    maps = jax.eval_shape(lambda x: model.apply(variables, x, method="feature_map"), images)
    side = maps.shape[1]
    assert explain.attention_map(model, variables, images).shape == (2, 1, side, side)
    assert explain.attention_rollout(model, variables, images).shape == (2, side, side)
    assert explain.grad_cam(model, variables, images, [0, 1]).shape == (2, side, side)


def test_positions_are_compared_by_their_cosine(vit):
    row = inside.row("position_similarity", vit)
    assert row.holds, row
    found = inside.ours("position_similarity", vit)
    assert found.shape == (4, 4, 4, 4)
    np.testing.assert_allclose(jnp.einsum("ijij->ij", found), 1, atol=1e-6)
    positions = vit.variables["params"]["positional_embedding"]
    with pytest.raises(ValueError, match="15 patches, which are no square"):
        explain.position_similarity(positions[:, :16])


@pytest.mark.parametrize("method", [explain.attention_map, explain.attention_rollout])
def test_a_resnet_has_no_attention_weights(method):
    model = make_resnet("resnet18", 5, img_size=16, stem="cifar", width=4)
    images = np.zeros((1, 16, 16, 3), np.float32)
    variables = jax.jit(model.init)(jax.random.key(0), images)
    with pytest.raises(ValueError, match="a ResNet has no attention weights: use a method"):
        method(model, variables, images)


@pytest.mark.parametrize(
    ("layer", "says"),
    [("layers_9", "has no layer layers_9: choose one such as"), ("head", "gives an array")],
)
def test_a_layer_that_is_no_map_is_refused(vit, layer, says):
    with pytest.raises(ValueError, match=says):
        explain.grad_cam(vit.model, vit.variables, vit.images, vit.targets, layer=layer)
