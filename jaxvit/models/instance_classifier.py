"""A network with a head of one logit for each training image."""

from typing import Any

from flax import linen as nn

from jaxvit.models.initializers import Init, bias_init, head_kernel_init
from jaxvit.models.linear import Dense
from jaxvit.objectives.contrastive import instance_logits
from jaxvit.shapes import Array, Float

HEAD = "head"  # of a backbone, which gives z and is no part of the features


def backbone_of(params: dict[str, Any]) -> dict[str, Any]:
    """What is left of the parameters without both heads: those of a model that gives features."""
    return {name: part for name, part in params["backbone"].items() if name != HEAD}


class InstanceClassifier(nn.Module):
    """z = backbone(x); logits = instances(z), or cosines of z and a bank of vectors.

    logits_i = z W_i + b_i, or z . w_i / (|z| |w_i| temperature), with a vector w_i for each
    training image in `bank` (N, z_dim).

    Attributes:
      backbone: a model without a head, whose z are its features; or with one, of z_dim numbers.
      num_instances: N, training images.
      z_dim: numbers of z.
      init_scheme: of a linear head, see jaxvit.models.initializers.
      temperature: of cosines; None for a linear head.

    Its parameters are those of the backbone under "backbone", and the head "instances", whose
    kernel (z_dim, N) and bias (N,) hold N (z_dim + 1) numbers: 10,000 images and 192 numbers take
    7.7 MB, and three times as much with the moments of AdamW.

    Source: Cao and Wu 2022, arXiv:2201.10728, section 3.1. Torch twin:
    torch_ref/instance_discrimination/instance_classifier.py.
    """

    backbone: nn.Module
    num_instances: int
    z_dim: int
    init_scheme: Init = "torch"
    temperature: float | None = None

    @property
    def img_size(self) -> int:
        """Height and width of its images, as init_variables asks for."""
        return self.backbone.img_size

    @property
    def in_channels(self) -> int:
        """Channels of its images."""
        return self.backbone.in_channels

    def setup(self):
        if self.temperature is not None:
            self.bank = self.param(
                "bank", nn.initializers.normal(), (self.num_instances, self.z_dim)
            )
            return
        self.instances = Dense(
            self.num_instances,
            head_kernel_init(self.init_scheme, self.z_dim),
            bias_init(self.init_scheme, self.z_dim),
        )

    def __call__(
        self, x: Float[Array, "B H W C"], deterministic: bool = True
    ) -> tuple[Float[Array, "B Z"], Float[Array, "B N"]]:
        z = self.backbone(x, deterministic)
        if self.temperature is not None:
            return z, instance_logits(z, self.bank, self.temperature)
        return z, self.instances(z)
