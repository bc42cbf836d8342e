"""The transformer encoder, and the Vision Transformer that contains it."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxvit.models.drop_path import DropPath, drop_path_rate
from jaxvit.models.dropout import Dropout
from jaxvit.models.gelu import gelu, gelu_tanh
from jaxvit.models.initializers import bias_init, head_kernel_init, kernel_init, token_init
from jaxvit.models.layer_norm import LayerNorm
from jaxvit.models.layer_options import LayerOptions
from jaxvit.models.layer_scale import LayerScale
from jaxvit.models.linear import Dense
from jaxvit.models.multi_head_attention import MultiHeadSelfAttention
from jaxvit.models.patch_embedding import PatchEmbedding
from jaxvit.models.variables import init_variables
from jaxvit.shapes import Array, Float


class TransformerEncoderLayer(LayerOptions):
    """A pre-norm encoder layer.

    x = x + drop_path(ls1(attn(norm1(x)))); x = x + drop_path(ls2(mlp(norm2(x)))), with mlp =
    Linear, GELU, Dropout, Linear, Dropout. ls1 and ls2 are LayerScale where layer_scale is not 0,
    and nothing otherwise. The members of `mlp` are named by their indices in PyTorch's Sequential:
    `mlp_0` and `mlp_3` are the two Linear layers. Called with `read`, a number, it gives so many
    tokens, the first ones, and of the others computes their keys and values alone.

    Attributes:
      see LayerOptions; drop_path is this layer's own rate.

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929. Torch twin: torch_ref/transformer.py.
    """

    def setup(self):
        hidden_dim = int(self.embed_dim * self.mlp_ratio)

        def dense(fan_in: int, features: int) -> Dense:
            return Dense(
                features,
                kernel_init(self.init_scheme, fan_in),
                bias_init(self.init_scheme, fan_in),
                self.dtype,
            )

        self.norm1 = LayerNorm(self.norm_eps)
        self.attn = self.make_attention()
        self.norm2 = LayerNorm(self.norm_eps)
        self.mlp_0 = dense(self.embed_dim, hidden_dim)
        after_gelu = self.activation_dropout
        self.mlp_2 = Dropout(self.dropout if after_gelu is None else after_gelu)
        self.mlp_3 = dense(hidden_dim, self.embed_dim)
        self.mlp_4 = Dropout(self.dropout)
        if self.layer_scale != 0:
            self.ls1 = LayerScale(self.layer_scale)
            self.ls2 = LayerScale(self.layer_scale)
        self.drop_path1 = DropPath(self.drop_path)
        self.drop_path2 = DropPath(self.drop_path)

    @nn.nowrap
    def make_attention(self) -> nn.Module:
        """What mixes the tokens; another kind of layer has another (models/attention_blocks.py)."""
        return MultiHeadSelfAttention(
            self.embed_dim,
            self.num_heads,
            self.dtype,
            self.init_scheme,
            self.qkv_bias,
            self.attention_dropout,
            self.projection_dropout,
        )

    def __call__(
        self, x: Float[Array, "B N D"], deterministic: bool = True, read: int | None = None
    ) -> Float[Array, "B M D"]:
        branch = self.attn(self.norm1(x), deterministic, read)
        branch = self.ls1(branch) if self.layer_scale != 0 else branch
        x = x[:, :read] + self.drop_path1(branch, deterministic)
        branch = self.mlp(self.norm2(x), deterministic)
        branch = self.ls2(branch) if self.layer_scale != 0 else branch
        return x + self.drop_path2(branch, deterministic)

    def mlp(self, x: Float[Array, "B N D"], deterministic: bool) -> Float[Array, "B N D"]:
        activation = gelu if self.gelu == "erf" else gelu_tanh
        x = self.mlp_2(activation(self.mlp_0(x)), deterministic)
        return self.mlp_4(self.mlp_3(x), deterministic)


class TransformerEncoder(LayerOptions):
    """A stack of encoder layers, `layers_0` to `layers_{num_layers - 1}`.

    Called with `read`, a number, the last layer gives so many tokens, the first ones.

    Attributes:
      num_layers: number of layers.
      remat: recompute each layer in the backward pass instead of storing its activations.
      others: see LayerOptions.

    Torch twin: torch_ref/transformer.py.
    """

    num_layers: int = 12
    remat: bool = False

    def setup(self):
        layer = TransformerEncoderLayer
        if self.remat:
            layer = nn.remat(layer, static_argnums=(2, 3))
        layer = traced_once(layer)
        rates = [drop_path_rate(self.drop_path, i, self.num_layers) for i in range(self.num_layers)]
        self.layers = [layer(**self.layer_options() | {"drop_path": rate}) for rate in rates]

    def __call__(
        self, x: Float[Array, "B N D"], deterministic: bool = True, read: int | None = None
    ) -> Float[Array, "B M D"]:
        for layer in self.layers[:-1]:
            x = layer(x, deterministic, None)
        return self.layers[-1](x, deterministic, read)


def traced_once(layer: type[nn.Module]) -> type[nn.Module]:
    """The layer under nn.jit, so that layers of one configuration are traced only once."""
    return nn.jit(layer, static_argnums=(2, 3))


class VisionTransformer(LayerOptions):
    """An image classifier: patches, a class token, positions, an encoder, a norm and a head.

    z = drop([cls_token, patch_embedding(x)] + positional_embedding), with the register tokens, if
    there are any, inserted after the class token, without positions;
    features = pool(norm(transformer_encoder(z))); logits = head(features).

    Called as `model.apply({"params": params}, images, deterministic=True)`; with
    `deterministic=False` it also needs `rngs={"dropout": key}` where a rate is above 0. Logits
    are float32 whatever the dtype. With the defaults it has 85,827,109 parameters.

    Attributes:
      img_size: height and width of the image, in pixels.
      patch_size: side of a patch, in pixels; divides img_size.
      in_channels: channels of the image.
      num_classes: K; 0 for a model without a head, which gives the features.
      num_layers: encoder layers.
      remat: recompute each layer in the backward pass.
      pool: what becomes of the tokens: "cls" takes the class token (B, D), "mean" the mean of the
        patches (B, D), "both" the two side by side (B, 2 D).
      register_tokens: how many.
      embedding_dropout: rate of the dropout before the encoder, in [0, 1).
      patch_norm: see PatchEmbedding.
      others: see LayerOptions.

    Raises:
      ValueError: patch_size does not divide img_size, num_heads does not divide embed_dim, or
        an image does not have the model's size and channels.

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929; registers: Darcet et al. 2024,
    arXiv:2309.16588. Torch twin: torch_ref/transformer.py.

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

    embed_dim: int = 768
    num_heads: int = 12
    img_size: int = 224
    patch_size: int = 16
    in_channels: int = 3
    num_classes: int = 37
    num_layers: int = 12
    remat: bool = False
    pool: Literal["cls", "mean", "both"] = "cls"
    register_tokens: int = 0
    embedding_dropout: float = 0.0
    patch_norm: bool = False

    def setup(self):
        self.patch_embedding = PatchEmbedding(
            self.img_size,
            self.patch_size,
            self.in_channels,
            self.embed_dim,
            self.dtype,
            self.init_scheme,
            self.patch_norm,
            self.norm_eps,
        )
        self.cls_token = self.param("cls_token", token_init, (1, 1, self.embed_dim))
        self.positional_embedding = self.param(
            "positional_embedding",
            token_init,
            (1, self.patch_embedding.num_patches + 1, self.embed_dim),
        )
        if self.register_tokens:
            self.registers = self.param(
                "registers", token_init, (1, self.register_tokens, self.embed_dim)
            )
        self.embedding_drop = Dropout(self.embedding_dropout)
        self.transformer_encoder = TransformerEncoder(
            **self.layer_options(), num_layers=self.num_layers, remat=self.remat
        )
        self.norm = LayerNorm(self.norm_eps)
        if self.num_classes:
            features = self.embed_dim * (2 if self.pool == "both" else 1)
            self.head = Dense(
                self.num_classes,
                head_kernel_init(self.init_scheme, features),
                bias_init(self.init_scheme, features),
            )

    def __call__(
        self, x: Float[Array, "B H W C"], deterministic: bool = True
    ) -> Float[Array, "B K"]:
        return self.classify(self.features(x, deterministic))

    def classify(self, features: Float[Array, "B F"]) -> Float[Array, "B K"]:
        """The logits of features; without a head, the features."""
        return self.head(features) if self.num_classes else features

    def features(
        self, x: Float[Array, "B H W C"], deterministic: bool = True
    ) -> Float[Array, "B F"]:
        """What the head sees: F = D, or 2 D where pool is "both"."""
        x = self.patch_embedding(x)  # (B, N - 1, D)
        cls_token = jnp.broadcast_to(self.cls_token, (x.shape[0], 1, self.embed_dim))
        # From here on the residual stream is float32, because it is a sum of many small terms.
        x = jnp.concatenate([cls_token, x], axis=1)  # (B, N, D)
        x = self.embedding_drop(x + self.positional_embedding, deterministic)
        if self.register_tokens:
            shape = (x.shape[0], self.register_tokens, self.embed_dim)
            registers = jnp.broadcast_to(self.registers, shape)
            x = jnp.concatenate([x[:, :1], registers, x[:, 1:]], axis=1)  # (B, N + R, D)
        x = self.transformer_encoder(x, deterministic, tokens_read(self, self.pool))
        if self.pool == "cls":
            return self.norm(x[:, 0])
        x = self.norm(x)
        mean = x[:, 1 + self.register_tokens :].mean(axis=1)
        return mean if self.pool == "mean" else jnp.concatenate([x[:, 0], mean], axis=-1)


def tokens_read(model: nn.Module, pool: str) -> int | None:
    """How many tokens, the first ones, the head reads of the last layer; None for all.

    A fast path beside reference_tokens_read: where the head reads the class token alone, the last
    layer needs the keys and values of all tokens, and all else of the class token only. That saves
    five sixths of its matmuls and more, in both directions. Whoever reads what modules sow as
    "intermediates", attention weights for example, gets those of all tokens.

    Args:
      model: bound to variables, of which it says what is sown.
      pool: see VisionTransformer.
    """
    return 1 if pool == "cls" and not model.is_mutable_collection("intermediates") else None


def reference_tokens_read(model: nn.Module, pool: str) -> int | None:
    """All of them, whatever is read."""
    return None


def init_params(model: nn.Module, key: jax.Array) -> dict:
    """Initial parameters of a VisionTransformer; see jaxvit.models.variables.init_variables."""
    return init_variables(model, key)[0]
