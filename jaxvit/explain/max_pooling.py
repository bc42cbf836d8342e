"""DeepLIFT's rule of maximum pooling."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import jax.numpy as jnp

from jaxvit.shapes import Array


class MaxPooling:
    """Of one reduce_window_max over maps (B, H, W, C).

    Args:
      params: of the operation.

    Raises:
      NotImplementedError: it is no pooling of the two middle axes.
    """

    def __init__(self, params: Mapping[str, Any]):
        self.window, self.strides = params["window_dimensions"], params["window_strides"]
        self.padding = params["padding"]
        dilated = {*params.get("base_dilation", (1,)), *params.get("window_dilation", (1,))}
        if len(self.window) != 4 or self.window[0] != 1 or self.window[3] != 1 or dilated != {1}:
            raise NotImplementedError(
                f"DeepLIFT has no rule for a maximum over windows {self.window}: use another method"
            )

    def rule(self, of, to, gradient: Callable, eps: float, summed: bool) -> Callable:
        """The multipliers of the inputs from those of the outputs.

        With M = max(y, y'), the position of y's maximum gets m (M - y') and that of y' gets
        m (y - M), over x - x'. The two sum to m (y - y').

        Args:
          of, to: the pairs x, x' and y, y'.
          gradient: of the pooling at x.
          eps: a difference of inputs below it takes the gradient.
          summed: whether a position that is the maximum of several windows gets all their parts.
            Captum 0.9.0 keeps that of the last window only, as torch's max_unpool2d does, so its
            contributions do not sum to F(x) - F(x') where windows overlap.
        """

        def pull(given: Sequence[Array]) -> Sequence[Array]:
            most = jnp.maximum(to.image, to.baseline)
            parts = self.unpool(given[0] * (most - to.baseline), of.image, summed)
            parts += self.unpool(given[0] * (to.image - most), of.baseline, summed)
            change = of.image - of.baseline
            small = jnp.abs(change) < eps
            return [jnp.where(small, gradient(given)[0], parts / jnp.where(small, 1, change))]

        return pull

    def unpool(self, values: Array, x: Array, summed: bool) -> Array:
        """Values (B, h, w, C) at the positions of x's maxima, in zeros of the shape of x."""
        padded = jnp.pad(x, self.padding, constant_values=-jnp.inf)
        read = jnp.stack([padded[place] for place in self._places(values.shape)])
        first = read.argmax(axis=0)
        found = jnp.zeros_like(padded)
        # Windows that come later meet a position at an earlier offset, and overwrite.
        for number, place in reversed(list(enumerate(self._places(values.shape)))):
            here = first == number
            if summed:
                found = found.at[place].add(jnp.where(here, values, 0))
            else:
                found = found.at[place].set(jnp.where(here, values, found[place]))
        inside = tuple(
            slice(low, size + low) for (low, _), size in zip(self.padding, x.shape, strict=True)
        )
        return found[inside]

    def _places(self, shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
        """For each offset in a window, where all windows meet the padded map."""
        for offset in product(*map(range, self.window)):
            yield tuple(
                slice(first, first + stride * (size - 1) + 1, stride)
                for first, stride, size in zip(offset, self.strides, shape, strict=True)
            )
