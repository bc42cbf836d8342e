"""Every fast path computes the same values and derivatives as its reference."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvit.config import Config
from jaxvit.models.attention_blocks import graph_weights, reference_graph_weights
from jaxvit.models.batch_norm import reference_standardize_batch, standardize_batch
from jaxvit.models.convolution import convolve, reference_convolve
from jaxvit.models.dropout import draw_kept, reference_draw_kept
from jaxvit.models.group_norm import reference_standardize_groups, standardize_groups
from jaxvit.models.layer_norm import reference_standardize, standardize
from jaxvit.models.multi_head_attention import attend, reference_attend
from jaxvit.models.resampling import double, halve, reference_double, reference_halve
from jaxvit.models.transformer import VisionTransformer
from jaxvit.models.upsampled_convolution import convolve_upsampled, reference_convolve_upsampled
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.tasks.classification import make_classification
from jaxvit.training.state import create_state
from jaxvit.training.steps import make_train_step


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return 2 * jax.random.normal(jax.random.key(seed), shape)


def flat(arrays) -> jax.Array:
    return jnp.concatenate([array.ravel() for array in arrays])


QKV = tuple(0.5 * normal(2, 3, 5, 4, seed=seed) for seed in range(3))
CONVOLUTIONS = {  # (height, width), kernel, stride
    "1 x 1": ((5, 4), 1, 1),
    "1 x 1 of stride 2": ((5, 4), 1, 2),
    "3 x 3 of one position": ((1, 1), 3, 1),
    "3 x 3 of a map of 2 x 2": ((2, 2), 3, 1),
    "3 x 3 to one position": ((2, 2), 3, 2),
    "3 x 3 of a row": ((1, 4), 3, 2),
    "7 x 7 of few positions": ((2, 1), 7, 2),
}
PATHS = {
    "layer norm": (standardize, reference_standardize, (normal(5, 6) + 3,)),
    "batch norm": (
        lambda x: flat(standardize_batch(x)),
        lambda x: flat(reference_standardize_batch(x)),
        (normal(5, 3, 4, 6) + 3,),
    ),
    "group norm": (
        partial(standardize_groups, groups=2),
        partial(reference_standardize_groups, groups=2),
        (normal(3, 3, 4, 6) + 3,),
    ),
    "attention": (lambda *qkv: attend(*qkv)[0], lambda *qkv: reference_attend(*qkv)[0], QKV),
    "graph weights": (
        lambda x, q, k: graph_weights(x @ q, x @ k),
        reference_graph_weights,
        (normal(2, 5, 6), 0.2 * normal(6, 2, seed=1), 0.2 * normal(6, 2, seed=2)),
    ),
    "weights": (lambda *qkv: attend(*qkv)[1], lambda *qkv: reference_attend(*qkv)[1], QKV),
    "halve": (halve, reference_halve, (normal(2, 4, 6, 3), 0.3 * normal(4, 4, 3, 5, seed=1))),
    "double": (double, reference_double, (normal(2, 2, 3, 3), 0.3 * normal(4, 4, 3, 5, seed=1))),
}

for shape in ((2, 3), (5, 1), (1, 1)):
    PATHS[f"convolution of upsampled maps: {shape}"] = (
        convolve_upsampled,
        reference_convolve_upsampled,
        (normal(3, *shape, 4), 0.3 * normal(3, 3, 4, 5, seed=1)),
    )
for name, (shape, size, stride) in CONVOLUTIONS.items():
    PATHS[f"convolution: {name}"] = (
        partial(convolve, stride=stride),
        partial(reference_convolve, stride=stride),
        (normal(3, *shape, 4), 0.3 * normal(size, size, 4, 5, seed=1)),
    )


def close(a, b) -> None:
    chex.assert_trees_all_close(a, b, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", PATHS)
def test_a_fast_path_has_its_references_values_and_derivatives(name):
    """In forward mode, in reverse mode, and in forward over reverse mode, which Hessians use."""
    fast, reference, args = PATHS[name]
    tangents = tuple(normal(*x.shape, seed=9) for x in args)
    weight = normal(*jax.eval_shape(fast, *args).shape, seed=8)

    def values_and_derivatives(function):
        @jax.jit
        def compiled(args, tangents, weight):
            gradient = jax.grad(lambda *a: (function(*a) * weight).sum(), range(len(args)))
            return {
                "value and forward mode": jax.jvp(function, args, tangents),
                "reverse mode and forward over reverse": jax.jvp(gradient, args, tangents),
            }

        return compiled(args, tangents, weight)

    close(values_and_derivatives(fast), values_and_derivatives(reference))


def test_masks_of_dropout_have_the_references_distribution():
    key, shape, p = jax.random.key(3), (64, 64, 8), 0.8
    for draw in (draw_kept, reference_draw_kept):
        kept = np.asarray(draw(key, shape, p), float)
        deviation = np.sqrt(p * (1 - p))
        assert abs(kept.mean() - p) < 4 * deviation / np.sqrt(kept.size)
        neighbours = np.mean((kept[:, 1:] - p) * (kept[:, :-1] - p)) / deviation**2
        assert abs(neighbours) < 4 / np.sqrt(kept.size)


MODEL = VisionTransformer(
    img_size=4, patch_size=2, num_classes=3, embed_dim=8, num_heads=2, num_layers=2, dropout=0.1
)


def test_a_model_has_forward_mode_derivatives():
    """Of the logits with respect to the image, against a central difference quotient."""
    images = jax.random.normal(jax.random.key(0), (1, 4, 4, 3))
    params = jax.jit(MODEL.init)(jax.random.key(1), images)
    direction = normal(1, 4, 4, 3, seed=4)

    @jax.jit
    def logits(x):
        return MODEL.apply(params, x, True)

    _, tangent = jax.jvp(logits, (images,), (direction,))
    quotient = (logits(images + 1e-2 * direction) - logits(images - 1e-2 * direction)) / 2e-2
    np.testing.assert_allclose(tangent, quotient, rtol=0.02, atol=2e-3)
    gradient = jax.jit(jax.grad(lambda x: logits(x).sum()))
    hessian = jax.jvp(gradient, (images,), (direction,))[1]
    assert np.isfinite(hessian).all()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_a_step_is_lowered_for_another_platform_without_querying_the_backend(platform, monkeypatch):
    task = make_classification(MODEL, *make_optimizer(Config().optim, 10), Config())
    state = jax.eval_shape(lambda: create_state(task, 0))
    batch = {
        "image": jax.ShapeDtypeStruct((4, 4, 4, 3), jnp.uint8),
        "label": jax.ShapeDtypeStruct((4,), jnp.int32),
    }

    def refuse():
        pytest.fail("the backend was queried while a step was traced")

    monkeypatch.setattr(jax, "default_backend", refuse)
    traced = jax.jit(make_train_step(task, seed=0)).trace(state, batch)
    assert "dot_general" in traced.lower(lowering_platforms=(platform,)).as_text()
