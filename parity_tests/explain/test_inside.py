"""Methods that need a model's inside, against PyTorch's own modules and pytorch-grad-cam."""

import sys
from unittest.mock import MagicMock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxvit import explain
from jaxvit.models.resnet import make_resnet
from parity_tests.comparison import twins
from parity_tests.evidence import distance
from parity_tests.explain import cases
from parity_tests.survey.small_models import whole_twins

with pytest.MonkeyPatch.context() as patch:
    # pytorch-grad-cam resizes with OpenCV, which is neither needed here nor loaded.
    patch.setitem(sys.modules, "cv2", MagicMock(name="cv2"))
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget


@pytest.fixture(scope="module")
def vit() -> cases.Case:
    return cases.small_vit()


def torch_weights(twin: cases.InTorch) -> list[np.ndarray]:
    """softmax(q k^T / sqrt(d)) of each layer, (B, h, N, N), from what goes into its attention."""
    found = []

    def keep(module, args):
        q, k, _ = module.qkv(args[0]).chunk(3, dim=-1)
        q, k = (z.unflatten(-1, (module.num_heads, -1)).transpose(1, 2) for z in (q, k))
        found.append((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1).detach().numpy())

    hooks = [
        layer.attn.register_forward_pre_hook(keep)
        for layer in twin.model.transformer_encoder.layers
    ]
    twin.model(twin.images)
    for hook in hooks:
        hook.remove()
    return found


def both(case: cases.Case) -> list[np.ndarray]:
    return [
        np.stack(torch_weights(cases.in_torch(case, dtype)), axis=1)
        for dtype in (torch.float32, torch.float64)
    ]


def test_the_attention_map_is_the_class_tokens_mean_over_heads(vit):
    def of(weights):
        return weights.mean(axis=2)[:, :, 0, 3:].reshape(3, 2, 4, 4)

    found = explain.attention_map(vit.model, vit.variables, vit.images)
    row = distance("map", found, *map(of, both(vit)))
    assert row.holds, row


@pytest.mark.parametrize("pool", ["cls", "mean", "both"])
def test_rollout_multiplies_layers_with_their_residual_path(vit, pool):
    model = vit.model.clone(pool=pool, num_classes=0)

    def of(weights):
        eye = np.eye(weights.shape[-1], dtype=weights.dtype)
        rolled = np.broadcast_to(eye, weights[:, 0, 0].shape)
        for layer in range(weights.shape[1]):
            step = 0.5 * weights[:, layer].mean(axis=1) + 0.5 * eye
            rolled = step @ rolled
        rows = {"cls": [0], "mean": range(3, 19), "both": None}[pool]
        if rows is None:
            read = (rolled[:, 0] + rolled[:, 3:].mean(axis=1)) / 2
        else:
            read = rolled[:, list(rows)].mean(axis=1)
        return read[:, 3:].reshape(3, 4, 4)

    found = explain.attention_rollout(model, vit.variables, vit.images)
    row = distance("rollout", found, *map(of, both(vit)))
    assert row.holds, row


def test_layers_come_in_their_order():
    """Eleven layers: as text, layers_10 would come before layers_2."""
    torch_model, model, params = twins(num_layers=11)
    case = cases.case("deep", torch_model.eval(), model, {"params": params}, cases.SIDE)
    found = explain.attention_map(model, {"params": params}, case.images)
    expected = both(case)[1].mean(axis=2)[:, :, 0, 1:].reshape(3, 11, 4, 4)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def cam_of(case: cases.Case, layer, dtype, transform) -> np.ndarray:
    """pytorch-grad-cam's map before it scales it to [0, 1] and to the size of the image."""
    twin = cases.in_torch(case, dtype)
    # With gradients of the weights too, torch 2.15 ended the process with a segmentation fault,
    # here or at exit, for this narrow network at 96 pixels.
    twin.model.requires_grad_(False)
    targets = [ClassifierOutputTarget(int(each)) for each in twin.targets]
    with GradCAM(twin.model, [layer(twin.model)], reshape_transform=transform) as cam:
        outputs = cam.activations_and_grads(twin.images)
        sum(target(out) for target, out in zip(targets, outputs, strict=True)).backward()
        found = cam.get_cam_image(
            twin.images, None, targets, cam.activations_and_grads.activations[0].detach().numpy(),
            cam.activations_and_grads.gradients[0].detach().numpy(), False,
        )  # fmt: skip
    return np.maximum(found, 0)


def as_map(tokens: torch.Tensor) -> torch.Tensor:
    return tokens[:, 3:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("number", [0, 1])
def test_grad_cam_of_a_vits_layer_is_pytorch_grad_cams(vit, number):
    def layer(model):
        return model.transformer_encoder.layers[number].norm1

    found = explain.grad_cam(
        vit.model, vit.variables, vit.images, vit.targets,
        layer=f"transformer_encoder/layers_{number}/norm1",
    )  # fmt: skip
    row = distance(
        "cam", found, *(cam_of(vit, layer, t, as_map) for t in (torch.float32, torch.float64))
    )
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

    def layer(model):
        return model.layer4[1]

    found = explain.grad_cam(case.model, case.variables, case.images, case.targets)
    assert found.shape == (3, 3, 3)
    row = distance(
        "cam", found, *(cam_of(case, layer, t, None) for t in (torch.float32, torch.float64))
    )
    assert row.holds, row


def test_a_class_token_leaves_the_last_layers_patches_without_gradient(vit):
    model = vit.model.clone(pool="cls", num_classes=cases.CLASSES)
    variables = model.init(jax.random.key(0), vit.images)
    with pytest.raises(ValueError, match="do not depend on the patches of .*layers_1: choose an"):
        explain.grad_cam(
            model, variables, vit.images, vit.targets, layer="transformer_encoder/layers_1"
        )


def test_a_block_behind_a_resnet_has_all_three():
    _, model, variables = whole_twins("graph", False)
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    side = model.apply(variables, images, method="feature_map").shape[1]
    assert explain.attention_map(model, variables, images).shape == (2, 1, side, side)
    assert explain.attention_rollout(model, variables, images).shape == (2, side, side)
    assert explain.grad_cam(model, variables, images, [0, 1]).shape == (2, side, side)


def test_positions_are_compared_by_their_cosine():
    positions = np.random.default_rng(0).normal(size=(1, 17, 6)).astype(np.float32)
    found = explain.position_similarity(positions)
    a, b = torch.tensor(positions)[0, 1 + 4 * 2 + 1], torch.tensor(positions)[0, 1 + 4 * 3 + 2]
    expected = torch.nn.functional.cosine_similarity(a, b, dim=0).item()
    assert found[2, 1, 3, 2] == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(jnp.einsum("ijij->ij", found), 1, atol=1e-6)
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
