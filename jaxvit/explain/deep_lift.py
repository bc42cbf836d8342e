"""DeepLIFT: differences from a baseline, handed back from a logit to the pixels."""

from functools import partial

import jax
from flax import linen as nn

from jaxvit.explain.multipliers import EPSILON, Rules, multipliers
from jaxvit.explain.parts import BATCH_SIZE, collect
from jaxvit.explain.score import Targets, broadcast_baselines, check, logits_fn, scores
from jaxvit.shapes import Array, Float


def deep_lift(
    model: nn.Module,
    variables: dict,
    images: Float[Array, "B H W C"],
    targets: Targets,
    *,
    baselines: float | Array = 0.0,
    rules: Rules = "complete",
    eps: float = EPSILON,
    batch_size: int = BATCH_SIZE,
) -> Float[Array, "B H W C"]:
    """(x - x') m, where the multipliers m are chained backward from the logit, rule by rule.

    An operation y = f(x) of one number has the multiplier (y - y') / (x - x') in place of the
    gradient (the rescale rule). With rules "complete" this holds for ReLU, GELU, exp, the root of
    LayerNorm and all else that is not linear; a product a b gives (b + b') / 2 to a and
    (a + a') / 2 to b; softmax is p = exp(z - log sum exp z). Contributions then sum to
    F(x) - F(x') to rounding, on a Vision Transformer too: see convergence_delta.

    With rules "captum" it is what Captum 0.9.0 does on the models here. It has rules for modules of
    exactly the types ReLU, ELU, LeakyReLU, Sigmoid, Tanh, Softplus, MaxPool1d to MaxPool3d and
    Softmax; here are those of ReLU, LeakyReLU and MaxPool2d, the latter with the contributions of
    overlapping windows lost (see jaxvit.explain.max_pooling). ELU, Sigmoid, Tanh, Softplus and a
    Softmax module, whose rule in Captum sums over the whole batch, get their gradient here. So does
    everything else, there too: GELU, LayerNorm, softmax as a function and the matmuls of attention.
    So on a Vision Transformer it is input_times_gradient with x - x' in place of x. Captum needs a
    ReLU module of its own for each use, which torchvision's ResNet does not have; here that does
    not matter.

    Args:
      model: any Flax classifier: it is called as model.apply(variables, images,
        deterministic=True).
      variables: {"params": ...}, and {"batch_stats": ...} where it has them.
      images: x, normalised.
      targets: t, in [0, K): one class, or one for each image.
      baselines: x', normalised; 0 is the mean colour. A number, an image, or one for each.
      rules: see above.
      eps: a difference x - x' below it takes the gradient; Captum's default.
      batch_size: images in the model at a time, which bounds memory; each is computed with its
        baseline.

    Raises:
      ValueError: a target is no class, baselines do not fit, or there are no such rules.
      NotImplementedError: the model has an operation without a complete rule.

    Source: Shrikumar et al. 2017, arXiv:1704.02685.
    """
    if rules not in Rules.__args__:
        raise ValueError(f"unknown rules {rules!r}: choose one of {', '.join(Rules.__args__)}")
    function, targets = check(logits_fn(model, variables), images, targets)
    baselines = broadcast_baselines(baselines, images)
    return collect(
        partial(_attribute, rules=rules, eps=eps), (function, images, baselines, targets),
        len(images), batch_size, lambda rows, _: (rows,),
    )  # fmt: skip


@partial(jax.jit, static_argnames=("rules", "eps"))
def _attribute(function, images, baselines, targets, rows, rules, eps):
    images, baselines, targets = images[rows], baselines[rows], targets[rows]

    def score(images):
        return scores(function, images, targets).sum()

    found, _, _ = multipliers(score, images, baselines, rules, eps)
    return (images - baselines) * found
