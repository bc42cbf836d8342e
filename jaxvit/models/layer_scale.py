"""LayerScale: a learned factor for each channel of a residual branch."""

from flax import linen as nn

from jaxvit.shapes import Array, Float


class LayerScale(nn.Module):
    """y = gamma x, over the last axis.

    The parameter `gamma`, (D,), starts as `initial` everywhere.

    Attributes:
      initial: such as 1e-5, which makes a new layer nearly the identity.

    Source: Touvron et al. 2021, arXiv:2103.17239. Torch twin: torch_ref/layer_scale.py.
    """

    initial: float

    @nn.compact
    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        return x * self.param("gamma", nn.initializers.constant(self.initial), (x.shape[-1],))
