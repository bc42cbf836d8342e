"""Points and weights that approximate an integral over [0, 1], as Captum has them."""

from typing import Literal, NamedTuple

import numpy as np

Method = Literal[
    "gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"
]


class Quadrature(NamedTuple):
    """sum_i weights_i f(points_i).

    Attributes:
      points: (n,) in [0, 1], float64.
      weights: (n,), float64; they sum to 1, and those of riemann_trapezoid to 1 - 1/n.
    """

    points: np.ndarray
    weights: np.ndarray


def quadrature(method: Method, steps: int) -> Quadrature:
    """The rule with this many points.

    Args:
      method: "gausslegendre", or a Riemann sum over intervals of width 1/n, read at their left end,
        right end or middle. riemann_trapezoid has n points at i / (n - 1) and the weights 1/n, the
        first and the last of them halved: its weights sum to 1 - 1/n, so it misses that share of an
        integral. It is here because Captum has it.
      steps: n, at least 1 for Gauss-Legendre and 2 for the others.

    Raises:
      ValueError: there is no such method, or steps is too small.

    Example:
      >>> quadrature("riemann_trapezoid", 3)
      Quadrature(points=array([0. , 0.5, 1. ]), weights=array([0.16666667, 0.33333333, 0.16666667]))
    """
    least = 1 if method == "gausslegendre" else 2
    if steps < least:
        raise ValueError(f"steps {steps} is too small: {method} needs at least {least}")
    if method == "gausslegendre":
        points, weights = np.polynomial.legendre.leggauss(steps)
        return Quadrature((1 + points) / 2, weights / 2)
    weights = np.full(steps, 1 / steps)
    if method == "riemann_left":
        return Quadrature(np.arange(steps) / steps, weights)
    if method == "riemann_right":
        return Quadrature(np.arange(1, steps + 1) / steps, weights)
    if method == "riemann_middle":
        return Quadrature((np.arange(steps) + 0.5) / steps, weights)
    if method == "riemann_trapezoid":
        weights[[0, -1]] /= 2
        return Quadrature(np.linspace(0, 1, steps), weights)
    raise ValueError(f"unknown method {method!r}: choose one of {', '.join(Method.__args__)}")
