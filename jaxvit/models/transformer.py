"""The transformer encoder, and the Vision Transformer that contains it."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxvit.config import ModelConfig
from jaxvit.models.dropout import Dropout
from jaxvit.models.gelu import gelu
from jaxvit.models.initializers import Init, bias_init, head_kernel_init, kernel_init, token_init
from jaxvit.models.layer_norm import LayerNorm
from jaxvit.models.linear import Dense
from jaxvit.models.multi_head_attention import MultiHeadSelfAttention
from jaxvit.models.patch_embedding import PatchEmbedding
from jaxvit.shapes import Array, Float


class TransformerEncoderLayer(nn.Module):
    """A pre-norm encoder layer.

    x = x + attn(norm1(x)); x = x + mlp(norm2(x)), with mlp = Linear, exact (erf) GELU, Dropout,
    Linear, Dropout. There is no dropout outside the MLP. `mlp_0` and `mlp_3` are named after the
    indices of the two Linear layers in PyTorch's Sequential.

    Attributes:
      embed_dim: width D of a token.
      num_heads: attention heads.
      mlp_ratio: hidden width of the MLP divided by embed_dim.
      dropout: rate, in [0, 1).
      dtype: of the matmuls.
      init_scheme: see jaxvit.models.initializers.

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929. Torch twin: torch_ref/transformer.py.
    """

    embed_dim: int
    num_heads: int
    mlp_ratio: float = 4.0
    dropout: float = 0.1
    dtype: DTypeLike = jnp.float32
    init_scheme: Init = "torch"

    def setup(self):
        hidden_dim = int(self.embed_dim * self.mlp_ratio)

        def dense(fan_in: int, features: int) -> Dense:
            return Dense(
                features,
                kernel_init(self.init_scheme, fan_in),
                bias_init(self.init_scheme, fan_in),
                self.dtype,
            )

        self.norm1 = LayerNorm()
        self.attn = MultiHeadSelfAttention(
            self.embed_dim, self.num_heads, self.dtype, self.init_scheme
        )
        self.norm2 = LayerNorm()
        self.mlp_0 = dense(self.embed_dim, hidden_dim)
        self.mlp_3 = dense(hidden_dim, self.embed_dim)
        self.mlp_dropout = Dropout(self.dropout)

    def __call__(
        self, x: Float[Array, "B N D"], deterministic: bool = True
    ) -> Float[Array, "B N D"]:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x), deterministic)

    def mlp(self, x: Float[Array, "B N D"], deterministic: bool) -> Float[Array, "B N D"]:
        x = self.mlp_dropout(gelu(self.mlp_0(x)), deterministic)
        return self.mlp_dropout(self.mlp_3(x), deterministic)


class TransformerEncoder(nn.Module):
    """A stack of encoder layers, `layers_0` to `layers_{num_layers - 1}`.

    Attributes:
      num_layers: number of layers.
      remat: recompute each layer in the backward pass instead of storing its activations.
      others: see TransformerEncoderLayer.

    Torch twin: torch_ref/transformer.py.
    """

    embed_dim: int
    num_heads: int
    num_layers: int
    mlp_ratio: float = 4.0
    dropout: float = 0.1
    dtype: DTypeLike = jnp.float32
    init_scheme: Init = "torch"
    remat: bool = False

    def setup(self):
        layer = TransformerEncoderLayer
        if self.remat:
            layer = nn.remat(layer, static_argnums=(2,))
        layer = traced_once(layer)
        self.layers = [
            layer(
                self.embed_dim,
                self.num_heads,
                self.mlp_ratio,
                self.dropout,
                self.dtype,
                self.init_scheme,
            )
            for _ in range(self.num_layers)
        ]

    def __call__(
        self, x: Float[Array, "B N D"], deterministic: bool = True
    ) -> Float[Array, "B N D"]:
        for layer in self.layers:
            x = layer(x, deterministic)
        return x


def traced_once(layer: type[nn.Module]) -> type[nn.Module]:
    """The layer under nn.jit, so that layers of one configuration are traced only once."""
    return nn.jit(layer, static_argnums=(2,))


class VisionTransformer(nn.Module):
    """An image classifier: patches, a class token, positions, an encoder, a norm and a head.

    z = [cls_token, patch_embedding(x)] + positional_embedding;
    logits = head(norm(transformer_encoder(z)[:, 0])).

    Called as `model.apply({"params": params}, images, deterministic=True)`; with
    `deterministic=False` it also needs `rngs={"dropout": key}` where dropout is above 0. Logits
    are float32 whatever the dtype. With the defaults it has 85,827,109 parameters.

    Attributes:
      img_size: height and width of the image, in pixels.
      patch_size: side of a patch, in pixels; divides img_size.
      in_channels: channels of the image.
      num_classes: K.
      embed_dim: width D of a token; num_heads divides it.
      num_heads, num_layers, mlp_ratio, dropout: see TransformerEncoderLayer.
      dtype: of the matmuls, float32 or bfloat16; parameters, residual stream, LayerNorm and
        softmax stay float32.
      init_scheme: "torch" or "vit", see jaxvit.models.initializers.
      remat: recompute each layer in the backward pass.

    Raises:
      ValueError: patch_size does not divide img_size, num_heads does not divide embed_dim, or
        an image does not have the model's size and channels.

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929. Torch twin: torch_ref/transformer.py.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> model = VisionTransformer(
      ...     img_size=8, patch_size=4, num_classes=5, embed_dim=16, num_heads=2, num_layers=1
      ... )
      >>> images = jnp.zeros((2, 8, 8, 3))
      >>> params = model.init(jax.random.key(0), images)["params"]
      >>> model.apply({"params": params}, images, deterministic=True).shape
      (2, 5)
    """

    img_size: int = 224
    patch_size: int = 16
    in_channels: int = 3
    num_classes: int = 37
    embed_dim: int = 768
    num_heads: int = 12
    num_layers: int = 12
    mlp_ratio: float = 4.0
    dropout: float = 0.1
    dtype: DTypeLike = jnp.float32
    init_scheme: Init = "torch"
    remat: bool = False

    def setup(self):
        self.patch_embedding = PatchEmbedding(
            self.img_size,
            self.patch_size,
            self.in_channels,
            self.embed_dim,
            self.dtype,
            self.init_scheme,
        )
        self.cls_token = self.param("cls_token", token_init, (1, 1, self.embed_dim))
        self.positional_embedding = self.param(
            "positional_embedding",
            token_init,
            (1, self.patch_embedding.num_patches + 1, self.embed_dim),
        )
        self.transformer_encoder = TransformerEncoder(
            self.embed_dim,
            self.num_heads,
            self.num_layers,
            self.mlp_ratio,
            self.dropout,
            self.dtype,
            self.init_scheme,
            self.remat,
        )
        self.norm = LayerNorm()
        self.head = Dense(
            self.num_classes,
            head_kernel_init(self.init_scheme, self.embed_dim),
            bias_init(self.init_scheme, self.embed_dim),
        )

    def __call__(
        self, x: Float[Array, "B H W C"], deterministic: bool = True
    ) -> Float[Array, "B K"]:
        x = self.patch_embedding(x)  # (B, N - 1, D)
        cls_token = jnp.broadcast_to(self.cls_token, (x.shape[0], 1, self.embed_dim))
        # From here on the residual stream is float32, because it is a sum of many small terms.
        x = jnp.concatenate([cls_token, x], axis=1)  # (B, N, D)
        x = self.transformer_encoder(x + self.positional_embedding, deterministic)
        return self.head(self.norm(x[:, 0]))


def init_params(model: nn.Module, key: jax.Array) -> dict:
    """Initial parameters, drawn in one compiled call because separate draws are slow.

    Args:
      model: has the attributes img_size and in_channels, as VisionTransformer.
      key: of jax.random.

    Returns:
      A nested dict of float32 arrays.
    """
    shape = (1, model.img_size, model.img_size, model.in_channels)
    return jax.jit(model.init)(key, jnp.zeros(shape))["params"]


def make_model(config: ModelConfig, num_classes: int) -> VisionTransformer:
    """The VisionTransformer that the configuration describes, with one logit for each class."""
    return VisionTransformer(
        img_size=config.img_size,
        patch_size=config.patch_size,
        in_channels=config.in_channels,
        num_classes=num_classes,
        embed_dim=config.embed_dim,
        num_heads=config.num_heads,
        num_layers=config.num_layers,
        mlp_ratio=config.mlp_ratio,
        dropout=config.dropout,
        dtype=jnp.dtype(config.dtype),
        init_scheme=config.init,
        remat=config.remat,
    )
