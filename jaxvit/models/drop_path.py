"""Stochastic depth: whole residual branches are dropped for single examples."""

import jax.numpy as jnp
from flax import linen as nn

from jaxvit.models.dropout import draw_kept
from jaxvit.shapes import Array, Float


class DropPath(nn.Module):
    """Zeroes an example's branch with probability `rate`, and scales the others' by 1 / (1 - rate).

    y_b = kept_b x_b / (1 - rate), with one draw for each example; y = x where `deterministic` is
    True or `rate` is 0. Otherwise `apply` needs `rngs={"dropout": key}`.

    Attributes:
      rate: in [0, 1).

    The mask, bool (B, 1, ..., 1), is sown as "kept" into the collection "dropout".

    Source: Huang et al. 2016, arXiv:1603.09382. Torch twin: torch_ref/drop_path.py.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Float[Array, "B *S"], deterministic: bool) -> Float[Array, "B *S"]:
        if deterministic or self.rate == 0:
            return x
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        kept = draw_kept(self.make_rng("dropout"), shape, 1 - self.rate)
        self.sow("dropout", "kept", kept)
        return jnp.where(kept, x / (1 - self.rate), 0)


def drop_path_rate(rate: float, number: int, layers: int) -> float:
    """The rate of one layer: rising linearly from 0 in the first to `rate` in the last.

    Args:
      rate: of the last layer, in [0, 1).
      number: of the layer, from 0.
      layers: how many there are.
    """
    return rate * number / max(1, layers - 1)
