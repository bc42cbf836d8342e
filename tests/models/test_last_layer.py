"""The last layer computes the tokens that the head reads, and the others where they are asked for.

Its values and gradients are compared with those of all tokens.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from jaxvit.models import attention_blocks, transformer
from jaxvit.models.attention_blocks import AttentionBlock
from jaxvit.models.transformer import VisionTransformer, reference_tokens_read

SIZES = {"embed_dim": 12, "num_heads": 3, "img_size": 8, "patch_size": 2, "num_classes": 5}
MODELS = {
    "class token": VisionTransformer(**SIZES, num_layers=2, dropout=0.0),
    "one layer": VisionTransformer(**SIZES, num_layers=1, dropout=0.0),
    "as DINOv2": VisionTransformer(
        **SIZES, num_layers=2, dropout=0.0, layer_scale=0.5, register_tokens=3, drop_path=0.3
    ),
    "computed again, no bias": VisionTransformer(
        **SIZES, num_layers=2, dropout=0.0, remat=True, qkv_bias=False
    ),
    "graph": AttentionBlock(**SIZES, in_channels=3, dropout=0.0, attention="graph"),
    "classic": AttentionBlock(**SIZES, in_channels=3, dropout=0.0, attention="classic"),
}


def variables_of(model) -> dict:
    """Random, so that no bias and no norm is as it starts."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    leaves, tree = jax.tree.flatten(shapes)
    rng = np.random.default_rng(0)
    return tree.unflatten([0.5 * rng.normal(size=x.shape).astype(np.float32) for x in leaves])


def images_of(batch: int = 2) -> jax.Array:
    return jax.random.normal(jax.random.key(1), (batch, 8, 8, 3))


def tokens_of_layers(model, sown: dict, monkeypatch) -> list[int]:
    """How many tokens each layer gives as the model is traced."""
    variables, found = variables_of(model), []
    call = transformer.TransformerEncoderLayer.__call__

    def noted(self, x, deterministic=True, read=None):
        out = call(self, x, deterministic, read)
        found.append(out.shape[1])
        return out

    monkeypatch.setattr(transformer.TransformerEncoderLayer, "__call__", noted)
    monkeypatch.setattr(transformer, "traced_once", lambda layer: layer)
    model.apply(variables, images_of(), True, **sown)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_logits_and_gradients_are_those_of_all_tokens(name, monkeypatch):
    model, images = MODELS[name], images_of()
    variables = variables_of(model)
    weight = jax.random.normal(jax.random.key(2), (2, 5))

    def values() -> dict:
        jax.clear_caches()  # otherwise a trace of the other way would be used again

        def score(variables, images):
            logits = model.apply(variables, images, True)
            return (logits * weight).sum(), logits

        both = jax.jit(jax.value_and_grad(score, (0, 1), has_aux=True))
        (_, logits), gradients = both(variables, images)
        return {"logits": logits, "gradients": gradients}

    found = values()
    for module in (transformer, attention_blocks):
        monkeypatch.setattr(module, "tokens_read", reference_tokens_read)
    wanted = values()
    jax.clear_caches()
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        largest = np.abs(theirs).max()
        assert np.isfinite(largest)
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * max(1, largest), rtol=0)


@pytest.mark.parametrize(
    ("options", "sown", "wanted"),
    [
        ({}, {}, [17, 17, 1]),
        ({"register_tokens": 2}, {}, [19, 19, 1]),
        ({"pool": "mean"}, {}, [17, 17, 17]),
        ({"pool": "both"}, {}, [17, 17, 17]),
        ({}, {"mutable": ["intermediates"]}, [17, 17, 17]),
        ({}, {"mutable": ["dropout"]}, [17, 17, 1]),
    ],
)
def test_tokens_of_each_layer(options, sown, wanted, monkeypatch):
    model = VisionTransformer(**SIZES, num_layers=3, **options)
    assert tokens_of_layers(model, sown, monkeypatch) == wanted


@pytest.mark.parametrize("attention", ["graph", "classic"])
def test_tokens_of_an_attention_block(attention, monkeypatch):
    model = AttentionBlock(**SIZES, in_channels=3, attention=attention)
    assert tokens_of_layers(model, {}, monkeypatch) == [1]
    assert tokens_of_layers(model, {"mutable": ["intermediates"]}, monkeypatch)[-1] == 17


@pytest.mark.parametrize("name", ["class token", "as DINOv2", "graph", "classic"])
def test_attention_weights_are_those_of_all_tokens(name):
    model = MODELS[name]
    logits, sown = model.apply(variables_of(model), images_of(), True, mutable=["intermediates"])
    tokens = 20 if name == "as DINOv2" else 17
    shapes = {value[0].shape for value in flatten_dict(sown["intermediates"]).values()}
    assert shapes == {(2, 3, tokens, tokens)}
    alone = model.apply(variables_of(model), images_of(), True)
    np.testing.assert_allclose(logits, alone, atol=1e-5 * float(np.abs(logits).max()))


def test_dropout_of_a_last_layer_is_drawn_for_its_token():
    model = VisionTransformer(
        **SIZES, num_layers=2, dropout=0.4, attention_dropout=0.3, projection_dropout=0.2
    )
    args = (variables_of(model), images_of(64), False)
    sown = model.apply(*args, rngs={"dropout": jax.random.key(3)}, mutable=["dropout"])[1]
    kept = flatten_dict(sown["dropout"]["transformer_encoder"]["layers_1"], sep="/")
    shapes = {path.removesuffix("/kept"): mask[0].shape for path, mask in kept.items()}
    assert shapes == {
        "attn/attn_drop": (64, 3, 1, 17), "attn/proj_drop": (64, 1, 12), "mlp_2": (64, 1, 48),
        "mlp_4": (64, 1, 12),
    }  # fmt: skip
    rates = {"attn/attn_drop": 0.3, "attn/proj_drop": 0.2, "mlp_2": 0.4, "mlp_4": 0.4}
    for path, rate in rates.items():
        assert abs(np.mean(kept[f"{path}/kept"][0]) - (1 - rate)) < 0.07, path
