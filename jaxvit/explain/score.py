"""The number that is explained, the logit of a class, and its gradient."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxvit.shapes import Array, Float, Int

# Images (B, H, W, C), normalised, to logits (B, K), in evaluation.
LogitsFn = Callable[[Array], Array]
Targets = int | Sequence[int] | Int[Array, "B"]  # one class, or one for each image


def logits_fn(model, variables) -> LogitsFn:
    """images -> logits of a Flax model, as a pytree with its variables for leaves.

    A function of one's own that holds weights works too; they are then constants of the compiled
    program, which takes longer to compile.

    Args:
      model: such as a VisionTransformer.
      variables: {"params": ...}, and {"batch_stats": ...} where it has them.
    """
    return Partial(_apply, variables, model=Static(model))


class Static:
    """A constant of a program, compared by value."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other) -> bool:
        return isinstance(other, Static) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)


jax.tree_util.register_static(Static)


def _apply(variables, images: Array, *, model: Static) -> Array:
    return model.value.apply(variables, images, deterministic=True)


# Its shapes are traced once for a model, not once for each call of a method.
_call = jax.jit(lambda function, images: function(images))


def as_pytree(function: Callable) -> Partial:
    """The function as an argument that a compiled function may take."""
    return function if isinstance(function, Partial) else Partial(function)


def check(function: LogitsFn, images: Array, targets: Targets) -> tuple[Partial, Array]:
    """The function as a pytree, and a class for each image.

    Raises:
      ValueError: the images are no batch, the function gives no logits of them, or a target is none
        of its classes.
    """
    function = as_pytree(function)
    if images.ndim != 4 or not len(images):
        raise ValueError(
            f"images of shape {images.shape}: give a batch (B, H, W, C) of at least one image"
        )
    logits = _call.eval_shape(function, images)
    if logits.ndim != 2 or logits.shape[0] != images.shape[0]:
        raise ValueError(
            f"logits_fn gives an array {logits.shape} for {images.shape[0]} image(s): it has to "
            "give logits (B, K)"
        )
    targets = jnp.asarray(targets)
    if targets.shape not in ((), images.shape[:1]) or not jnp.issubdtype(
        targets.dtype, jnp.integer
    ):
        raise ValueError(
            f"targets of shape {targets.shape} and dtype {targets.dtype} for {images.shape[0]} "
            "image(s): give one class, or one for each image, as integers"
        )
    targets = jnp.broadcast_to(targets, images.shape[:1])
    if not isinstance(targets, jax.core.Tracer):
        wrong = [int(each) for each in targets if not 0 <= each < logits.shape[1]]
        if wrong:
            raise ValueError(
                f"target {wrong[0]} is no class of {logits.shape[1]}: choose one of 0 to "
                f"{logits.shape[1] - 1}"
            )
    return function, targets


def broadcast_baselines(baselines: float | Array, images: Array) -> Array:
    """A baseline for each image.

    Raises:
      ValueError: they do not fit the images.
    """
    baselines = jnp.asarray(baselines, images.dtype)
    try:
        return jnp.broadcast_to(baselines, images.shape)
    except ValueError:
        raise ValueError(
            f"baselines of shape {baselines.shape} do not fit images of {images.shape}: give a "
            "number, one image, or an image for each"
        ) from None


def scores(function: LogitsFn, images: Array, targets: Array) -> Float[Array, "B"]:
    """The logit of each image's target."""
    return jnp.take_along_axis(function(images), targets[:, None], axis=1)[:, 0]


def gradients(function: LogitsFn, images: Array, targets: Array) -> Float[Array, "B H W C"]:
    """Of each score with respect to its own image."""
    return jax.grad(lambda images: scores(function, images, targets).sum())(images)


def convergence_delta(
    logits_fn: LogitsFn,
    images: Float[Array, "B H W C"],
    targets: Targets,
    attributions: Float[Array, "B H W C"],
    baselines: float | Array = 0.0,
) -> Float[Array, "B"]:
    """sum(attributions) - (F(x) - F(x')): by how much attributions miss completeness.

    Args:
      logits_fn, images, targets, baselines: as the method was given them.
      attributions: of a method that distributes F(x) - F(x'): integrated_gradients, deep_lift.

    Source: Sundararajan et al. 2017, arXiv:1703.01365. Captum's compute_convergence_delta.
    """
    function, targets = check(logits_fn, images, targets)
    return _delta(function, images, targets, attributions, broadcast_baselines(baselines, images))


@jax.jit
def _delta(function, images, targets, attributions, baselines):
    both = jnp.concatenate([images, baselines])
    score, of_baseline = jnp.split(scores(function, both, jnp.tile(targets, 2)), 2)
    return attributions.sum((1, 2, 3)) - (score - of_baseline)


jitted_gradients = jax.jit(gradients)
jitted_scores = jax.jit(scores)
