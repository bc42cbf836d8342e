"""Attention blocks: the patches of a feature map are nodes that attend to each other."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxvit.models.dropout import Dropout
from jaxvit.models.initializers import (
    Init,
    bias_init,
    head_kernel_init,
    kernel_init,
    token_init,
)
from jaxvit.models.layer_norm import LayerNorm
from jaxvit.models.layer_options import LayerOptions
from jaxvit.models.linear import Dense
from jaxvit.models.patch_embedding import PatchEmbedding
from jaxvit.models.transformer import TransformerEncoderLayer, tokens_read
from jaxvit.shapes import Array, Float

SLOPE = 0.2  # of LeakyReLU below zero, as in GAT


class GraphAttention(nn.Module):
    """Attention of a complete graph's nodes, whose scores are sums of two numbers.

    out = drop(concat_h(drop(A_h) v_h) W_out + b_out), A_ij = softmax_j(sigma(q_i + k_j)), with
    q = x W_Q and k = x W_K, one number for each node and head, v = x W_V + b_V, and sigma the
    LeakyReLU of slope .2. q_i + k_j is w^T [x_i || x_j], where w is W_Q above W_K: 2 D numbers for
    each head. The pairs [x_i || x_j] are never built.

    What the survey leaves open is as in GAT: sigma, heads with weights of their own, and scores
    without a bias. The values and the output projection are those of MultiHeadSelfAttention. Scores
    read x itself, not x W_V, because the survey's W_Q and W_K take the D numbers of a node. There
    is no 1/sqrt(d): a score is one number, no sum of d products.

    sigma rises strictly, so all nodes order the others alike (Brody et al. 2022, arXiv:2105.14491);
    with sigma the identity, q_i would cancel and all rows of A would be equal.

    Attributes:
      embed_dim: width D of a node.
      num_heads: heads h, 1 in the survey; divides embed_dim.
      dtype: of the matmuls; the softmax is always float32.
      init_scheme: see jaxvit.models.initializers; PyTorch's default is that of a Linear from D.
      attention_dropout, projection_dropout: rates in [0, 1) of the two drops, on the attention
        weights and on the output.

    `queries` and the attention weights that are sown are as in MultiHeadSelfAttention.

    Raises:
      ValueError: embed_dim is not divisible by num_heads.

    Source: Velickovic et al. 2018, arXiv:1710.10903, eq. 1 to 5. Torch twin:
    torch_ref/survey/attention_blocks.py.
    """

    embed_dim: int
    num_heads: int = 1
    dtype: DTypeLike = jnp.float32
    init_scheme: Init = "torch"
    attention_dropout: float = 0.0
    projection_dropout: float = 0.0

    def __post_init__(self):
        if self.embed_dim % self.num_heads != 0:
            raise ValueError(
                f"embed_dim {self.embed_dim} is not divisible by num_heads {self.num_heads}"
            )
        super().__post_init__()

    def setup(self):
        def dense(features: int, bias: bool = True) -> Dense:
            return Dense(
                features,
                kernel_init(self.init_scheme, self.embed_dim),
                bias_init(self.init_scheme, self.embed_dim) if bias else None,
                self.dtype,
            )

        self.query = dense(self.num_heads, bias=False)
        self.key = dense(self.num_heads, bias=False)
        self.value = dense(self.embed_dim)
        self.fc_out = dense(self.embed_dim)
        self.attn_drop = Dropout(self.attention_dropout)
        self.proj_drop = Dropout(self.projection_dropout)

    def __call__(
        self, x: Float[Array, "B N D"], deterministic: bool = True, queries: int | None = None
    ) -> Float[Array, "B Q D"]:
        batch, tokens, _ = x.shape
        v = self.value(x).reshape(batch, tokens, self.num_heads, -1).astype(self.dtype)
        weights = graph_weights(self.query(x[:, :queries]), self.key(x))
        self.sow("intermediates", "attention_weights", weights)
        kept = self.attn_drop(weights, deterministic).astype(self.dtype)
        out = jnp.einsum("bhij,bjhk->bihk", kept, v).reshape(batch, -1, self.embed_dim)
        return self.proj_drop(self.fc_out(out), deterministic)


def graph_weights(q: Float[Array, "B Q h"], k: Float[Array, "B N h"]) -> Float[Array, "B h Q N"]:
    """A_ij = softmax_j(LeakyReLU(q_i + k_j)).

    A fast path beside reference_graph_weights: two numbers for each node in place of 2 D for each
    pair of nodes. Memory and time of both are in docs/attention_blocks.md.
    """
    q, k = q.swapaxes(1, 2), k.swapaxes(1, 2)  # (B, h, N)
    scores = q[:, :, :, None] + k[:, :, None, :]  # (B, h, Q, N): i, then j
    return jax.nn.softmax(nn.leaky_relu(scores, SLOPE), axis=-1)


def reference_graph_weights(
    x: Float[Array, "B N D"], w_query: Float[Array, "D h"], w_key: Float[Array, "D h"]
) -> Float[Array, "B h N N"]:
    """The same of q = x w_query and k = x w_key, as GAT writes it: w^T [x_i || x_j] of all pairs.

    It builds them: (B, N, N, 2 D).
    """
    batch, tokens, width = x.shape
    first = jnp.broadcast_to(x[:, :, None], (batch, tokens, tokens, width))
    second = jnp.broadcast_to(x[:, None], (batch, tokens, tokens, width))
    pairs = jnp.concatenate([first, second], axis=-1)
    scores = pairs @ jnp.concatenate([w_query, w_key])  # (B, i, j, h)
    return jax.nn.softmax(nn.leaky_relu(scores, SLOPE), axis=2).transpose(0, 3, 1, 2)


class GraphEncoderLayer(TransformerEncoderLayer):
    """TransformerEncoderLayer with GraphAttention. Torch twin: the class of the same name."""

    @nn.nowrap
    def make_attention(self) -> nn.Module:
        return GraphAttention(
            self.embed_dim,
            self.num_heads,
            self.dtype,
            self.init_scheme,
            self.attention_dropout,
            self.projection_dropout,
        )


class AttentionBlock(LayerOptions):
    """One encoder layer over the patches of a feature map, with a class token and a head.

    z = [cls_token, patch_embedding(x)] + positional_embedding;
    features = norm(layer(z))[0]; logits = head(features). It is a Vision Transformer of one layer,
    whose image is the feature map and whose attention is "classic", softmax(Q K^T / sqrt(d)) V, or
    "graph", GraphAttention.

    Attributes:
      attention: "classic" or "graph".
      img_size, in_channels: height and width, and channels, of the feature map.
      patch_size: side of a node's patch, in positions of the feature map; divides img_size.
      num_classes: K.
      others: see LayerOptions.

    Raises:
      ValueError: patch_size does not divide img_size, num_heads does not divide embed_dim, or a
        feature map does not have the block's size and channels.

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929. Torch twin:
    torch_ref/survey/attention_blocks.py.
    """

    embed_dim: int = 256
    num_heads: int = 1
    attention: Literal["classic", "graph"] = "graph"
    img_size: int = 4
    patch_size: int = 1
    in_channels: int = 512
    num_classes: int = 10

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
        layer = GraphEncoderLayer if self.attention == "graph" else TransformerEncoderLayer
        self.layer = layer(**self.layer_options())
        self.norm = LayerNorm(self.norm_eps)
        self.head = Dense(
            self.num_classes,
            head_kernel_init(self.init_scheme, self.embed_dim),
            bias_init(self.init_scheme, self.embed_dim),
        )

    def __call__(
        self, x: Float[Array, "B H W C"], deterministic: bool = True
    ) -> Float[Array, "B K"]:
        return self.classify(self.features(x, deterministic))

    def classify(self, features: Float[Array, "B D"]) -> Float[Array, "B K"]:
        """The logits of features."""
        return self.head(features)

    def features(
        self, x: Float[Array, "B H W C"], deterministic: bool = True
    ) -> Float[Array, "B D"]:
        """What the head sees: the class token."""
        x = self.patch_embedding(x)  # (B, N - 1, D)
        cls_token = jnp.broadcast_to(self.cls_token, (x.shape[0], 1, self.embed_dim))
        x = jnp.concatenate([cls_token, x], axis=1) + self.positional_embedding  # (B, N, D)
        return self.norm(self.layer(x, deterministic, tokens_read(self, "cls"))[:, 0])
