import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxvit.interop.torch_weights import params_from_state_dict, state_dict_from_params
from jaxvit.models import transformer as jax_transformer
from jaxvit.models.transformer import init_params
from jaxvit.objectives.losses import soft_target_cross_entropy
from parity_tests.comparison import (
    FLOOR,
    GRADIENTS,
    LOGITS,
    RATIO,
    SMALL,
    max_difference,
    to_nhwc,
    twins,
)
from parity_tests.replay import make_mask_recorder
from torch_ref import transformer as torch_transformer


def logits_of_both(torch_model, jax_model, params, batch=3):
    torch.manual_seed(1)
    images = torch.randn(batch, SMALL["in_channels"], SMALL["img_size"], SMALL["img_size"])
    with torch.no_grad():
        expected = torch_model.eval()(images)
    return jax_model.apply({"params": params}, to_nhwc(images), deterministic=True), expected


@pytest.mark.slow
def test_vit_b16_has_85827109_parameters_and_the_logits_of_torch():
    torch.manual_seed(0)
    torch_model = torch_transformer.VisionTransformer().eval()
    jax_model = jax_transformer.VisionTransformer()
    abstract = jax.eval_shape(jax_model.init, jax.random.key(0), jnp.zeros((1, 224, 224, 3)))
    sizes = [leaf.size for leaf in jax.tree.leaves(abstract["params"])]
    assert sum(sizes) == 85_827_109
    assert sum(p.numel() for p in torch_model.parameters()) == 85_827_109

    params = params_from_state_dict(torch_model.state_dict())
    assert jax.tree.map(np.shape, params) == jax.tree.map(lambda x: x.shape, abstract["params"])
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected = torch_model(images)
    logits = jax_model.apply({"params": params}, to_nhwc(images), deterministic=True)
    assert max_difference(logits, expected) < LOGITS


def test_logits_are_as_close_to_float64_as_torch():
    torch_model, jax_model, params = twins()
    logits, expected = logits_of_both(torch_model, jax_model, params)
    torch.manual_seed(1)
    images = torch.randn(3, SMALL["in_channels"], SMALL["img_size"], SMALL["img_size"])
    with torch.no_grad():
        truth = copy.deepcopy(torch_model).double()(images.double())
    assert max_difference(logits, truth) <= max(RATIO * max_difference(expected, truth), FLOOR)


@pytest.mark.parametrize(
    "options",
    [
        {"img_size": 4},  # one patch
        {"embed_dim": 21, "num_heads": 7, "mlp_ratio": 2.5},
        {"num_layers": 1, "num_classes": 2},
    ],
)
def test_logits_agree_with_torch_for_unusual_shapes(options):
    torch_model, jax_model, params = twins(**options)
    side = options.get("img_size", SMALL["img_size"])
    images = torch.randn(1, 3, side, side)
    with torch.no_grad():
        expected = torch_model.eval()(images)
    logits = jax_model.apply({"params": params}, to_nhwc(images), deterministic=True)
    assert max_difference(logits, expected) < LOGITS


def test_gradients_of_every_parameter_and_the_image_agree_with_torch():
    torch_model, jax_model, params = twins(dropout=0.0)
    images = torch.randn(4, 3, 16, 16, requires_grad=True)
    targets = torch.rand(4, 7).softmax(dim=1)
    torch.nn.CrossEntropyLoss()(torch_model.train()(images), targets).backward()
    expected = {name: p.grad.numpy() for name, p in torch_model.named_parameters()}

    def mean_loss(params, x):
        logits = jax_model.apply({"params": params}, x, deterministic=False)
        return soft_target_cross_entropy(logits, jnp.asarray(targets.numpy())).mean()

    by_params, by_image = jax.jit(jax.grad(mean_loss, argnums=(0, 1)))(
        params, to_nhwc(images.detach())
    )
    found = state_dict_from_params(by_params)
    assert found.keys() == expected.keys()
    worst = {name: max_difference(found[name], expected[name]) for name in expected}
    assert max(worst.values()) < GRADIENTS, worst
    assert max_difference(by_image, to_nhwc(images.grad)) < GRADIENTS


# Weights.


def test_state_dict_round_trip_is_bitwise():
    torch_model, *_ = twins()
    before = {name: value.numpy() for name, value in torch_model.state_dict().items()}
    after = state_dict_from_params(params_from_state_dict(before))
    assert before.keys() == after.keys()
    for name in before:
        assert before[name].dtype == after[name].dtype
        assert before[name].shape == after[name].shape
        assert before[name].tobytes() == after[name].tobytes(), name
    torch_model.load_state_dict({name: torch.from_numpy(value) for name, value in after.items()})


def test_params_have_the_names_of_torchs_state_dict():
    params = jax.eval_shape(
        jax_transformer.VisionTransformer(**SMALL).init,
        jax.random.key(0),
        jnp.zeros((1, 16, 16, 3)),
    )["params"]
    names = state_dict_from_params(jax.tree.map(lambda x: np.zeros(x.shape), params)).keys()
    assert names == torch_transformer.VisionTransformer(**SMALL).state_dict().keys()


def test_a_weight_with_three_axes_is_rejected_by_name():
    with pytest.raises(ValueError, match=r"proj\.weight has 3 axes"):
        params_from_state_dict({"proj.weight": np.zeros((2, 2, 2))})


# Initialisation and modes.


def test_initial_parameters_have_torchs_distribution():
    options = SMALL | {"embed_dim": 96, "num_layers": 1}
    torch.manual_seed(0)
    expected = torch_transformer.VisionTransformer(**options).state_dict()
    found = state_dict_from_params(
        init_params(jax_transformer.VisionTransformer(**options), jax.random.key(0))
    )
    for name, theirs in expected.items():
        ours, theirs = found[name], theirs.numpy()
        if "norm" in name:
            np.testing.assert_array_equal(ours, theirs)
            continue
        # Both are n draws of one distribution: bound and deviation agree up to sampling error.
        slack = 5 / np.sqrt(ours.size)
        assert abs(ours.mean()) < 3 * theirs.std() / np.sqrt(ours.size) + 1e-9, name
        assert abs(ours.std() / theirs.std() - 1) < slack, name
        assert abs(np.abs(ours).max() / np.abs(theirs).max() - 1) < max(slack, 0.25), name


def test_vit_initialisation_gives_logits_of_zero():
    model = jax_transformer.VisionTransformer(**SMALL, init_scheme="vit")
    images = jax.random.normal(jax.random.key(1), (2, 16, 16, 3))
    params = init_params(model, jax.random.key(0))
    np.testing.assert_array_equal(model.apply({"params": params}, images), 0)


@pytest.mark.slow
def test_remat_changes_no_gradient():
    images = jax.random.normal(jax.random.key(1), (2, 16, 16, 3))
    params = init_params(jax_transformer.VisionTransformer(**SMALL), jax.random.key(0))

    def grads(remat):
        model = jax_transformer.VisionTransformer(**SMALL, remat=remat)

        def loss(params):
            rngs = {"dropout": jax.random.key(2)}
            logits = model.apply({"params": params}, images, deterministic=False, rngs=rngs)
            return (logits**2).sum()

        return jax.jit(jax.grad(loss))(params)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        grads(False),
        grads(True),
    )


@pytest.mark.slow
def test_bfloat16_logits_have_dtype_float32_and_are_close_to_float32():
    images = jax.random.normal(jax.random.key(1), (4, 16, 16, 3))
    exact = jax_transformer.VisionTransformer(**SMALL)
    rough = jax_transformer.VisionTransformer(**SMALL, dtype=jnp.bfloat16)
    params = init_params(exact, jax.random.key(0))
    assert {x.dtype for x in jax.tree.leaves(init_params(rough, jax.random.key(0)))} == {
        jnp.dtype("float32")
    }
    logits = rough.apply({"params": params}, images)
    assert logits.dtype == jnp.float32
    difference = max_difference(logits, exact.apply({"params": params}, images))
    assert 1e-5 < difference < 0.05  # above 0, so bfloat16 was used; it has 8 significant bits


def test_dropout_is_in_the_mlp_only():
    torch_model, jax_model, _ = twins(dropout=0.5)
    drops = {n: m.p for n, m in torch_model.named_modules() if isinstance(m, torch.nn.Dropout)}
    assert [name for name, rate in drops.items() if rate > 0] == [
        f"transformer_encoder.layers.{layer}.mlp.{index}" for layer in (0, 1) for index in (2, 4)
    ]
    params, images = init_params(jax_model, jax.random.key(0)), jnp.ones((2, 16, 16, 3))
    masks = make_mask_recorder(jax_model)(params, images, jax.random.key(1))
    assert [mask.shape for mask in masks] == [(2, n, d) for n in (17, 1) for d in (96, 24)]


@pytest.mark.parametrize(
    "name",
    [
        "blocks.0.attn.proj.weight", "vit.embeddings.cls_token", "pos_embed", "head_dist.bias",
        "head.0.weight", "norm.qkv.weight", "attn.weight", "layers.0.norm.weight",
        "layers.x.norm1.weight", "mlp.1.weight", "cls_token.weight",
    ],
)  # fmt: skip
def test_a_foreign_name_is_refused_and_the_first_is_named(name):
    weights = {"cls_token": np.zeros((1, 1, 2), np.float32), name: np.zeros(2, np.float32)}
    with pytest.raises(ValueError, match=f"'{name}' is no parameter of .* .1 of 2 names are"):
        params_from_state_dict(weights)
