"""Grad-CAM: feature maps of a layer, weighted by the mean gradient of a class's logit."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxvit.explain.attention_map import as_grid, leading_tokens
from jaxvit.explain.score import Targets, check
from jaxvit.explain.score import logits_fn as logits_of
from jaxvit.shapes import Array, Float


def grad_cam(
    model: nn.Module,
    variables: dict,
    images: Float[Array, "B H W C"],
    targets: Targets,
    *,
    layer: str | None = None,
) -> Float[Array, "B h w"]:
    """relu(sum_k w_k A_k) with w_k the mean over positions of dF_t / dA_k.

    A_k are the channels of a layer's output: of a ResNet's stage, or of a Vision Transformer's
    tokens, whose patches are laid out as a grid and whose class token is left out.

    Args:
      model: a ResNet, a ResNet with an attention block, or a VisionTransformer.
      variables: {"params": ...}, and {"batch_stats": ...} where it has them.
      images: normalised.
      targets: t, in [0, K): one class, or one for each image.
      layer: the path of a module, such as "layer4_1" or "transformer_encoder/layers_11/norm1".
        None takes the last stage of a ResNet, and norm1 of the last layer of a Vision Transformer:
        where the class token is read, the last layer's own output has no gradient at the patches.

    Raises:
      ValueError: a target is no class, there is no such layer, or its output is neither a map nor
        tokens or has no gradient.

    Source: Selvaraju et al. 2017, arXiv:1610.02391. pytorch-grad-cam's GradCAM, before it scales.
    """
    if getattr(model, "remat", False):  # what is recomputed apart could not be handed out
        model = model.clone(remat=False)
    _, targets = check(logits_of(model, variables), images, targets)
    layer = layer or default_layer(model)
    maps, slopes = _maps_and_slopes(model, layer, variables, images, targets)
    if maps.ndim == 3:
        maps, slopes = (
            as_grid(each.swapaxes(1, 2), leading_tokens(model)).transpose(0, 2, 3, 1)
            for each in (maps, slopes)
        )
    if not isinstance(slopes, jax.core.Tracer) and not slopes.any():
        raise ValueError(
            f"the logits do not depend on the patches of {layer}: choose an earlier layer, such as "
            f"{default_layer(model)}"
        )
    weights = slopes.mean(axis=(1, 2), keepdims=True)
    return jax.nn.relu((weights * maps).sum(axis=-1))


def default_layer(model: nn.Module) -> str:
    """See grad_cam."""
    if hasattr(model, "num_layers"):
        return f"transformer_encoder/layers_{model.num_layers - 1}/norm1"
    last = f"layer4_{model.layers[-1] - 1}"
    return f"backbone/{last}" if hasattr(model, "attention") else last


@partial(jax.jit, static_argnames=("model", "layer"))
def _maps_and_slopes(model: nn.Module, layer: str, variables: dict, images: Array, targets: Array):
    """The layer's output, and the gradient of the scores with respect to it."""
    shape = jax.eval_shape(partial(_output, model, layer), variables, images)

    def score(shift: Array) -> tuple[Array, Array]:
        seen = []
        logits = _apply(model, layer, shift, seen, variables, images)
        return jnp.take_along_axis(logits, targets[:, None], axis=1).sum(), seen[-1]

    slopes, output = jax.grad(score, has_aux=True)(jnp.zeros(shape.shape))
    return output, slopes


def _output(model: nn.Module, layer: str, variables: dict, images: Array) -> Array:
    seen = []
    _apply(model, layer, 0.0, seen, variables, images)
    if not seen:
        raise ValueError(
            f"a {type(model).__name__} has no layer {layer}: choose one such as "
            f"{default_layer(model)}"
        )
    if seen[-1].ndim not in (3, 4):
        raise ValueError(
            f"{layer} gives an array {seen[-1].shape}: choose a layer that gives maps (B, h, w, C) "
            "or tokens (B, N, D)"
        )
    return seen[-1]


def _apply(model, layer, shift, seen, variables, images) -> Array:
    """The logits with `shift` added to what the layer gives, which `seen` receives."""
    # Without jit, because layers under nn.jit share one trace and have no path of their own in it.
    with nn.intercept_methods(partial(_shifted, layer, shift, seen)), jax.disable_jit():
        return model.apply(variables, images, deterministic=True)


def _shifted(layer, shift, seen, call, args, kwargs, context):
    """What the module gives, plus shift if it is the layer."""
    found = call(*args, **kwargs)
    if context.method_name == "__call__" and "/".join(context.module.path) == layer:
        seen.append(found)
        return found + shift
    return found
