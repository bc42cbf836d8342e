"""A ResNet with an attention block in place of its head."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxvit.models.attention_blocks import AttentionBlock
from jaxvit.models.resnet import LAYERS, ResNet
from jaxvit.shapes import Array, Float


class ResNetWithAttention(nn.Module):
    """A ResNet whose mean over positions and head are replaced by an AttentionBlock.

    logits = block(backbone.feature_map(x)). Called as ResNet is, with its BatchNorm statistics in
    "batch_stats". The parameters are {"backbone": ..., "block": ...}.

    With a frozen backbone only the block trains: in training too the backbone's BatchNorm uses its
    running statistics and leaves them as they are, and no gradient reaches the backbone. In
    evaluation gradients flow through it to the image, as explanations need them.

    Attributes:
      layers, img_size, in_channels, num_classes, stem, width, axis, dtype: see ResNet.
      attention, patch_size, embed_dim, num_heads, mlp_ratio, dropout: see AttentionBlock.
      frozen_backbone: whether only the block trains.

    Raises:
      ValueError: see ResNet and AttentionBlock.

    Torch twin: torch_ref/survey/resnet_with_attention.py.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> model = ResNetWithAttention(
      ...     (1, 1, 1, 1), img_size=16, num_classes=5, embed_dim=8, patch_size=1
      ... )
      >>> images = jnp.zeros((2, 16, 16, 3))
      >>> variables = jax.jit(model.init)(jax.random.key(0), images)
      >>> sorted(variables["params"])
      ['backbone', 'block']
      >>> @jax.jit
      ... def in_training(variables, images, key):
      ...     return model.apply(
      ...         variables, images, False, rngs={"dropout": key}, mutable=["batch_stats"]
      ...     )
      >>> logits, updates = in_training(variables, images, jax.random.key(1))
      >>> logits.shape
      (2, 5)
    """

    layers: tuple[int, ...] = LAYERS["resnet18"]
    img_size: int = 32
    in_channels: int = 3
    num_classes: int = 10
    stem: Literal["imagenet", "cifar"] = "cifar"
    width: int = 64
    axis: str | None = None
    dtype: DTypeLike = jnp.float32
    attention: Literal["classic", "graph"] = "graph"
    patch_size: int = 1
    embed_dim: int = 256
    num_heads: int = 1
    mlp_ratio: float = 4.0
    dropout: float = 0.1
    frozen_backbone: bool = False

    def setup(self):
        self.backbone = ResNet(
            self.layers,
            self.img_size,
            self.in_channels,
            0,
            self.stem,
            self.width,
            self.axis,
            self.dtype,
        )
        self.block = AttentionBlock(
            self.embed_dim,
            self.num_heads,
            self.mlp_ratio,
            self.dropout,
            self.dtype,
            attention=self.attention,
            img_size=self.backbone.map_size,
            patch_size=self.patch_size,
            in_channels=self.backbone.map_channels,
            num_classes=self.num_classes,
        )

    def __call__(
        self, x: Float[Array, "B H W C"], deterministic: bool = True
    ) -> Float[Array, "B K"]:
        return self.classify(self.features(x, deterministic))

    def classify(self, features: Float[Array, "B D"]) -> Float[Array, "B K"]:
        """The logits of features."""
        return self.block.classify(features)

    def features(
        self, x: Float[Array, "B H W C"], deterministic: bool = True
    ) -> Float[Array, "B D"]:
        """What the head sees: the class token."""
        return self.block.features(self.feature_map(x, deterministic), deterministic)

    def feature_map(
        self, x: Float[Array, "B H W C"], deterministic: bool = True
    ) -> Float[Array, "B h w F"]:
        """The output of the backbone's last stage."""
        if deterministic or not self.frozen_backbone:
            return self.backbone.feature_map(x, deterministic)
        return jax.lax.stop_gradient(self.backbone.feature_map(x, deterministic=True))
