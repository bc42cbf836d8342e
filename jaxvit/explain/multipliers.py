"""DeepLIFT's multipliers of any JAX function: a pair of images forward, contributions backward.

A function is traced to a jaxpr. Each of its operations is computed for the image and for the
baseline, and then gives its output's multiplier to its inputs by a rule: see `Rules`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.extend import core

from jaxvit.explain.max_pooling import MaxPooling
from jaxvit.shapes import Array

# captum: differences for ReLU and maximum pooling, gradients for all else. Of two of them in a row,
# such as ReLU and pooling in ResNet's stem, the second gets its gradient: in Captum 0.9.0 the first
# one's hook takes the gradient before the second one's hook has replaced it.
# complete: differences for every operation, so that contributions sum to F(x) - F(x').
Rules = Literal["captum", "complete"]
EPSILON = 1e-10  # a difference below it is none; Captum's

ACTIVATIONS = {"relu": jax.nn.relu, "leaky_relu": None}  # functions taken as one operation
KINKED = {"max", "min", "abs"}  # functions of one number
SMOOTH = {
    "exp", "exp2", "expm1", "log", "log1p", "tanh", "logistic", "erf", "rsqrt", "sqrt", "square",
    "integer_pow", "pow",
}  # fmt: skip
# Below this share of |x|, or of 1, y - y' has lost more digits than the slope between x and x' is
# off: (24 * 6e-8)^(1/3) is .01.
CLOSE = 0.01
PRODUCTS = {"mul", "dot_general", "conv_general_dilated"}
LINEAR = {
    "add", "sub", "neg", "mul", "div", "dot_general", "conv_general_dilated", "reduce_sum",
    "reshape", "transpose", "broadcast_in_dim", "squeeze", "expand_dims", "slice", "split",
    "concatenate", "pad", "rev", "convert_element_type", "copy", "gather", "dynamic_slice",
    "select_n", "reduce_window_sum", "add_any",
}  # fmt: skip
# Operations that run an inner program once, on the values that they are given; and the names of it.
# A scan has an inner program too, and runs it on slices.
CALLS = {
    "jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat2",
    "checkpoint",
}  # fmt: skip
PROGRAMS = ("jaxpr", "call_jaxpr", "fun_jaxpr")


@dataclass(eq=False)
class Pair:
    """A value that depends on the image: of the image, and of the baseline.

    Attributes:
      activated: whether it is what ReLU or maximum pooling gives.
      maximum_of: of a maximum, what it was taken over, and over which axes.
    """

    image: Array
    baseline: Array
    activated: bool = False
    maximum_of: "tuple[Pair, tuple[int, ...]] | None" = None


Pull = Callable[[Sequence[Array]], Sequence[Array]]  # multipliers of outputs -> of inputs


@dataclass
class Step:
    """An operation that was computed."""

    outputs: list[Pair]
    inputs: list[Pair]
    pull: Pull


def multipliers(
    function: Callable[[Array], Array], image: Array, baseline: Array, rules: Rules, eps: float
) -> tuple[Array, Array, Array]:
    """m with sum(m (x - x')) = F(x) - F(x') under complete rules; F(x); F(x').

    Args:
      function: F, of an array to a scalar.
      image, baseline: x and x', of one shape.
      rules: see Rules.
      eps: a difference of inputs below it takes the gradient.

    Raises:
      NotImplementedError: an operation has no complete rule.
    """
    jaxpr = jax.make_jaxpr(function)(image)
    start, tape = Pair(image, baseline), []
    (end,) = _run(jaxpr.jaxpr, jaxpr.consts, [start], rules, eps, tape)
    if not isinstance(end, Pair):  # the image is not used
        return jnp.zeros_like(image), end, end
    found = {id(end): jnp.ones_like(end.image)}
    for step in reversed(tape):
        given = [found.pop(id(each), None) for each in step.outputs]
        if all(each is None for each in given):
            continue
        pairs = zip(given, step.outputs, strict=True)
        pulled = step.pull([jnp.zeros_like(p.image) if g is None else g for g, p in pairs])
        for each, value in zip(step.inputs, pulled, strict=True):
            found[id(each)] = found[id(each)] + value if id(each) in found else value
    return found.get(id(start), jnp.zeros_like(image)), end.image, end.baseline


def _run(jaxpr, consts, args, rules: Rules, eps: float, tape: list[Step]) -> list[Any]:
    """The outputs; what depends on the image is a Pair, and how is on the tape."""
    env = dict(zip(jaxpr.constvars, consts, strict=True))
    env |= dict(zip(jaxpr.invars, args, strict=True))
    for eqn in jaxpr.eqns:
        values = [v.val if isinstance(v, core.Literal) else env[v] for v in eqn.invars]
        outputs = _compute(eqn, values, rules, eps, tape)
        env |= dict(zip(eqn.outvars, outputs, strict=True))
    return [v.val if isinstance(v, core.Literal) else env[v] for v in jaxpr.outvars]


def _compute(eqn, values: list, rules: Rules, eps: float, tape: list[Step]) -> list[Any]:
    name = eqn.primitive.name
    inputs = [value for value in values if isinstance(value, Pair)]
    if name in CALLS:
        inner = next(eqn.params[each] for each in PROGRAMS if each in eqn.params)
        jaxpr, consts = (inner.jaxpr, inner.consts) if hasattr(inner, "consts") else (inner, ())
        called = eqn.params.get("name")
        if called not in ACTIVATIONS or len(inputs) != 1:
            return _run(jaxpr, consts, values, rules, eps, tape)
        function = ACTIVATIONS[called] or core.jaxpr_as_fun(core.ClosedJaxpr(jaxpr, consts))
    else:
        called, function = None, lambda *all_values: eqn.primitive.bind(*all_values, **eqn.params)
    if not inputs:
        return _as_list(function(*values))
    if name == "stop_gradient":
        return [_shift(inputs[0], rules, tape)]

    def of_pairs(*chosen: Array) -> list[Array]:
        rest = iter(chosen)
        return _as_list(
            function(*(next(rest) if isinstance(each, Pair) else each for each in values))
        )

    activates = called in ACTIVATIONS or name in ("max", "reduce_window_max")
    outputs = [
        Pair(*each, activates)
        for each in zip(
            of_pairs(*(each.image for each in inputs)),
            of_pairs(*(each.baseline for each in inputs)),
            strict=True,
        )
    ]
    if name == "reduce_max":
        outputs[0].maximum_of = inputs[0], tuple(eqn.params["axes"])
    elif name in ("broadcast_in_dim", "reshape", "expand_dims"):  # to keep its axes
        outputs[0].maximum_of = inputs[0].maximum_of
    pull = _rule(name, called, eqn, values, rules, eps, of_pairs, inputs, outputs)
    tape.append(Step(outputs, inputs, pull))
    return outputs


def _shift(of: Pair, rules: Rules, tape: list[Step]) -> Pair | Array:
    """What softmax subtracts before exp; any number serves, for it cancels.

    The maximum z over some axes becomes c = log sum exp z, so that exp(z - c) is the softmax p, and
    its sum is 1. Then c - c' = sum_k w_k (z_k - z'_k), with w_k in proportion to
    (p_k - p'_k) / (log p_k - log p'_k): for sum_k p_k = sum_k p'_k. With one maximum for both, the
    exponentials of the image or of the baseline are all nearly 0 where their maxima are far apart,
    and the multipliers of 1 / sum grow without bound from layer to layer.
    """
    if rules != "complete" or of.maximum_of is None:
        return jnp.maximum(of.image, of.baseline)
    z, axes = of.maximum_of

    def total(z: Array) -> Array:
        return jax.nn.logsumexp(z, axis=axes, keepdims=True)

    shift = total(z.image), total(z.baseline)
    logs = Pair(z.image - shift[0], z.baseline - shift[1])
    probabilities = Pair(jnp.exp(logs.image), jnp.exp(logs.baseline))
    slope = _rescaled_smooth(logs, probabilities, lambda x: [jnp.exp(x)])
    (mean,) = slope([jnp.ones_like(z.image)])
    weights = mean / mean.sum(axis=axes, keepdims=True)
    found = Pair(*(each.reshape(of.image.shape) for each in shift))
    tape.append(Step([found], [z], lambda given: [given[0].reshape(shift[0].shape) * weights]))
    return found


def _rule(name, called, eqn, values, rules, eps, function, inputs, outputs) -> Pull:
    images = [each.image for each in inputs]
    gradient = jax.vjp(function, *images)[1]
    number, complete = len(inputs), rules == "complete"
    if not complete and any(each.activated for each in inputs):
        return gradient
    if name == "reduce_window_max":
        return MaxPooling(eqn.params).rule(inputs[0], outputs[0], gradient, eps, summed=complete)
    unit = called in ACTIVATIONS
    if number == 1 and (unit or name in KINKED and (complete or name == "max")):
        return _rescaled(inputs[0], outputs[0], gradient, eps)
    if number == 1 and complete and name in SMOOTH:
        return _rescaled_smooth(inputs[0], outputs[0], function)
    if complete and name in PRODUCTS and number == 2:
        # f(a, b) - f(a', b') = f(a - a', mean of b) + f(mean of a, b - b').
        return jax.vjp(function, *((each.image + each.baseline) / 2 for each in inputs))[1]
    if complete and name == "div" and isinstance(values[1], Pair):
        return _divided(*values)
    return _refused(name, number) if complete and name not in LINEAR else gradient


def _refused(name: str, number: int) -> Pull:
    """For an operation that may be there as long as nothing is handed back through it.

    So softmax may take a maximum, which it does not hand anything back to.
    """

    def pull(given: Sequence[Array]) -> Sequence[Array]:
        raise NotImplementedError(
            f"DeepLIFT has no complete rule for the operation {name} of {number} value(s) that "
            'depend on the image: use rules="captum", or another method'
        )

    return pull


def _rescaled(of: Pair, to: Pair, gradient: Pull, eps: float) -> Pull:
    """m = m_out (y - y') / (x - x'), or the gradient where x - x' is nothing."""

    def pull(given: Sequence[Array]) -> Sequence[Array]:
        change = of.image - of.baseline
        small = jnp.abs(change) < eps
        slope = (to.image - to.baseline) / jnp.where(small, 1, change)
        return [jnp.where(small, gradient(given)[0], given[0] * slope)]

    return pull


def _rescaled_smooth(of: Pair, to: Pair, function: Callable) -> Pull:
    """The same, with the slope in the middle where x and x' are close: y - y' would cancel."""
    middle = (of.image + of.baseline) / 2
    slope_there = jax.jvp(lambda x: function(x)[0], (middle,), (jnp.ones_like(middle),))[1]
    change = of.image - of.baseline
    close = jnp.abs(change) < CLOSE * jnp.minimum(1, jnp.abs(middle))
    between = (to.image - to.baseline) / jnp.where(close, 1, change)
    slope = jnp.where(close, slope_there, between)
    return lambda given: [given[0] * slope]


def _divided(above: Pair | Array, below: Pair) -> Pull:
    """a / b is the product of a and 1/b, whose difference is -(b - b') / (b b')."""

    def product(above: Array, below: Array) -> Array:
        return above * below

    depends = isinstance(above, Pair)
    mean = (above.image + above.baseline) / 2 if depends else above
    inverse = (1 / below.image + 1 / below.baseline) / 2
    gradient = jax.vjp(product, mean, inverse)[1]

    def pull(given: Sequence[Array]) -> Sequence[Array]:
        of_above, of_inverse = gradient(given[0])
        of_below = -of_inverse / (below.image * below.baseline)
        return [of_above, of_below] if depends else [of_below]

    return pull


def _as_list(found: Any) -> list[Any]:
    return list(found) if isinstance(found, (list, tuple)) else [found]
