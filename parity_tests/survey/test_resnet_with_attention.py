"""A ResNet with an attention block against torch_ref's: trained together, and frozen."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxvit.models.resnet_with_attention import ResNetWithAttention as JaxModel
from parity_tests.comparison import max_difference
from parity_tests.evidence import distance
from parity_tests.survey.small_models import (
    distances,
    in_torch,
    ported,
    random_batch,
    to_torch,
    whole_twins,
)
from torch_ref.survey.resnet_with_attention import ResNetWithAttention

BATCH, SIZE = 6, 16


@pytest.mark.parametrize("frozen", [False, True], ids=["together", "frozen"])
@pytest.mark.parametrize("attention", ["classic", "graph"])
def test_the_whole_model_is_as_close_to_float64_as_torch(attention, frozen):
    model, jax_model, variables = whole_twins(attention, frozen)
    drawn = jax.eval_shape(jax_model.init, jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 3)))
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(np.shape, variables)
    for row in distances(attention, model, jax_model, variables, random_batch(BATCH, SIZE)):
        assert row.holds, row


def test_a_frozen_backbones_training_pass_uses_its_running_statistics():
    """Left open by the survey: what frozen means. Parameters alone would let statistics move."""
    model, jax_model, variables = whole_twins("graph", True)
    images, _ = random_batch(BATCH, SIZE)
    training, new = jax.jit(
        lambda variables: jax_model.apply(variables, images, False, mutable=["batch_stats"])
    )(variables)
    assert not new.get("batch_stats") or jax.tree.all(
        jax.tree.map(np.array_equal, new["batch_stats"], variables["batch_stats"])
    )
    evaluation = jax.jit(jax_model.apply)(variables, images)
    assert max_difference(training, evaluation) < 1e-6  # there is no dropout here
    found = in_torch(model, (images, np.zeros(BATCH, int)), torch.float32)
    assert max_difference(found["training"], found["evaluation"]) == 0
    # As usual: requires_grad alone.
    usual = copy.deepcopy(model)
    usual.frozen_backbone = False
    assert not any(p.requires_grad for p in usual.backbone.parameters())
    usual.train()(to_torch(images, torch.float32))
    moved = ported(usual.state_dict())["batch_stats"]["backbone"]["bn1"]["mean"]
    assert max_difference(moved, variables["batch_stats"]["backbone"]["bn1"]["mean"]) > 1e-3


@pytest.mark.parametrize("frozen", [False, True], ids=["together", "frozen"])
def test_the_gradient_of_the_image_reaches_it_through_the_backbone(frozen):
    """In evaluation, as explanations need it, frozen or not."""
    model, jax_model, variables = whole_twins("graph", frozen)
    images, _ = random_batch(2, SIZE)
    ours = jax.jit(jax.grad(lambda x, variables: jax_model.apply(variables, x)[:, 0].sum()))(
        images, variables
    )

    def in_float(dtype) -> np.ndarray:
        inputs = to_torch(images, dtype).requires_grad_()
        copy.deepcopy(model).to(dtype).eval()(inputs)[:, 0].sum().backward()
        return inputs.grad.permute(0, 2, 3, 1).numpy()

    row = distance("image", ours, in_float(torch.float32), in_float(torch.float64))
    assert row.holds, row


def test_features_and_classify_are_the_two_halves_of_the_model():
    _, model, variables = whole_twins("classic", False)
    images, _ = random_batch(2, SIZE)

    @jax.jit
    def run(variables):
        features = model.apply(variables, images, method="features")
        logits = model.apply(variables, features, method="classify")
        feature_map = model.apply(variables, images, method="feature_map")
        return features, logits, feature_map, model.apply(variables, images)

    features, logits, feature_map, expected = run(variables)
    assert features.shape == (2, 24)
    assert feature_map.shape == (2, 2, 2, 512)
    assert max_difference(logits, expected) < 1e-6


def test_every_option_reaches_the_part_that_it_is_for():
    options = {
        "layers": (1, 2, 1, 1), "img_size": 64, "in_channels": 1, "num_classes": 3,
        "stem": "imagenet", "patch_size": 2, "embed_dim": 12, "num_heads": 3, "mlp_ratio": 1.5,
        "dropout": 0.3, "attention": "classic",
    }  # fmt: skip
    model = JaxModel(**options, axis="devices", dtype=jnp.bfloat16)
    twin = ResNetWithAttention(**options)
    drawn = jax.eval_shape(model.clone(axis=None).init, jax.random.key(0),
                           jnp.zeros((1, 64, 64, 1)))  # fmt: skip
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(np.shape, ported(twin.state_dict()))
    bound = model.bind({})
    for part in (bound.backbone, bound.block):
        assert part.dtype == jnp.bfloat16
    assert bound.backbone.axis == "devices"
    assert bound.block.num_heads == twin.block.layer.attn.num_heads == 3
    assert bound.block.dropout == twin.block.layer.mlp[2].p == 0.3
    assert bound.block.attention == "classic"
