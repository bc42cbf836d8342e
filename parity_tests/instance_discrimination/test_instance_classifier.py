"""vit-pytorch's model with a head of instances, and the blog's numbers."""

from dataclasses import replace

import jax
import numpy as np
import torch

from jaxvit.models.configured import make_model
from jaxvit.models.instance_classifier import InstanceClassifier
from jaxvit.presets import PRESETS
from parity_tests.comparison import LOGITS, max_difference, to_nhwc
from parity_tests.instance_discrimination.replayed import (
    BLOG,
    SIZE,
    as_params,
    network,
    twin_of,
)
from torch_ref.instance_discrimination.instance_classifier import blog_model


def test_z_and_logits_are_the_twins():
    model, params = network()
    twin = twin_of(params, BLOG, 9).eval()
    images = torch.randn(5, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = twin(images)
    found = model.apply({"params": params}, to_nhwc(images))
    for ours, theirs in zip(found, expected, strict=True):
        assert max_difference(ours, theirs) < LOGITS
    again = as_params(twin, BLOG.model.num_layers)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, again, jax.device_get(params))))


def test_the_presets_numbers_are_the_blogs():
    preset = PRESETS["flowers17-idmm-blog"]
    model = blog_model(1224)
    ours = make_model(replace(preset.model, in_channels=3), preset.instance.z_dim)
    params = jax.eval_shape(
        lambda: InstanceClassifier(ours, 1224, 10).init(
            jax.random.key(0), np.zeros((1, 224, 224, 3), np.float32)
        )
    )["params"]
    assert sum(x.size for x in jax.tree.leaves(params)) == sum(
        p.numel() for p in model.parameters()
    )
    attention = model.backbone.transformer.layers[0][0]
    assert attention.heads == ours.num_heads == 16
    assert attention.dropout.p == ours.attention_dropout == 0.1
    assert attention.to_out[1].p == ours.projection_dropout == 0.1
    assert model.backbone.dropout.p == ours.embedding_dropout == 0.1
    mlp = model.backbone.transformer.layers[0][1].net
    assert mlp[3].p == mlp[5].p == ours.dropout == 0.1
    assert (preset.epochs, preset.batch_size, preset.optim.lr) == (12, 64, 1e-3)
    assert preset.optim.weight_decay == torch.optim.AdamW([torch.zeros(1)]).defaults["weight_decay"]
    assert preset.augment.rotate == 35
