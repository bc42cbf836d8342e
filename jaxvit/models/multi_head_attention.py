"""Multi-head self-attention."""

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxvit.models.dropout import Dropout
from jaxvit.models.initializers import Init, bias_init, kernel_init
from jaxvit.models.linear import Dense
from jaxvit.shapes import Array, Float


class MultiHeadSelfAttention(nn.Module):
    """Scaled dot-product attention of a sequence with itself, over several heads.

    out = drop(concat_h(drop(softmax(q_h k_h^T / sqrt(head_dim))) v_h) W_out + b_out), with
    head_dim = embed_dim / num_heads. The columns of `qkv` are ordered by q, k, v, then by head,
    then by channel within the head. There is no mask. Called with `queries`, a number, it gives the
    output of so many tokens, the first ones, which attend to all.

    Attributes:
      embed_dim: width D of a token.
      num_heads: heads h; divides embed_dim.
      dtype: of the matmuls; the softmax is always float32.
      init_scheme: see jaxvit.models.initializers.
      qkv_bias: whether q, k and v have a bias.
      attention_dropout, projection_dropout: rates in [0, 1) of the two drops, on the attention
        weights and on the output.

    The attention weights, float32 (B, h, Q, N) with rows that sum to 1, are sown as
    "attention_weights": read them with `model.apply(..., mutable=["intermediates"])`.

    Raises:
      ValueError: embed_dim is not divisible by num_heads.

    Source: Vaswani et al. 2017, arXiv:1706.03762. Torch twin: torch_ref/multi_head_attention.py.
    """

    embed_dim: int
    num_heads: int
    dtype: DTypeLike = jnp.float32
    init_scheme: Init = "torch"
    qkv_bias: bool = True
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

        self.qkv = dense(3 * self.embed_dim, self.qkv_bias)
        self.fc_out = dense(self.embed_dim)
        self.attn_drop = Dropout(self.attention_dropout)
        self.proj_drop = Dropout(self.projection_dropout)

    def __call__(
        self, x: Float[Array, "B N D"], deterministic: bool = True, queries: int | None = None
    ) -> Float[Array, "B Q D"]:
        chex.assert_shape(x, (None, None, self.embed_dim))
        head_dim = self.embed_dim // self.num_heads

        def heads(z: Array) -> Array:
            return z.reshape(*z.shape[:2], self.num_heads, head_dim).swapaxes(1, 2)

        if queries is None:
            parts = jnp.split(self.qkv(x), 3, axis=-1)
        else:
            first, others = slice(self.embed_dim), slice(self.embed_dim, None)
            parts = [self.qkv(x[:, :queries], first)]
            parts += jnp.split(self.qkv(x, others), 2, axis=-1)
        q, k, v = (heads(part.astype(self.dtype)) for part in parts)  # (B, h, Q or N, k)
        out, weights = attend(q, k, v)
        self.sow("intermediates", "attention_weights", weights)
        if self.attention_dropout > 0 and not deterministic:
            kept = self.attn_drop(weights, deterministic).astype(v.dtype)
            out = jnp.einsum("bhqn,bhnk->bhqk", kept, v)
        out = out.swapaxes(1, 2)  # (B, Q, h, k)
        out = self.fc_out(out.reshape(*out.shape[:2], self.embed_dim))
        return self.proj_drop(out, deterministic)


def attend(
    q: Float[Array, "B h Q k"], k: Float[Array, "B h N k"], v: Float[Array, "B h N k"]
) -> tuple[Float[Array, "B h Q k"], Float[Array, "B h Q N"]]:
    """softmax(q k^T / sqrt(head_dim)) v, and the softmax itself.

    A fast path beside reference_attend: it divides the output, instead of the weights, by the sums
    of the exponentials, because the output has fewer elements where N > head_dim. Measured alone,
    ViT-S/16 at batch 8 with dropout .1: temporaries fall from 709 to 649 MB, and the step takes
    1.4 % less time (docs/experiments.md).

    Returns:
      The output, of v's dtype, and the attention weights, float32, whose rows sum to 1.
    """
    scores = jnp.einsum("bhqk,bhnk->bhqn", q, k, preferred_element_type=jnp.float32)
    exps, sums = _softmax_parts(scores * q.shape[-1] ** -0.5)
    out = jnp.einsum("bhqn,bhnk->bhqk", exps.astype(v.dtype), v)
    return (out / sums).astype(v.dtype), exps / sums


def reference_attend(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
    """The same function, as written in Vaswani et al. 2017, eq. 1."""
    scores = jnp.einsum("bhqk,bhnk->bhqn", q, k, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(scores * q.shape[-1] ** -0.5)
    return jnp.einsum("bhqn,bhnk->bhqk", weights.astype(v.dtype), v), weights


def _softmax_parts(
    scores: Float[Array, "*B N"],
) -> tuple[Float[Array, "*B N"], Float[Array, "*B 1"]]:
    """e = exp(scores - max) and its sums over the last axis: softmax(scores) = e / sum(e).

    Subtracting the maximum prevents overflow. It cancels in the quotient, so no gradient flows
    through it.
    """
    top = jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))
    exps = jnp.exp(scores - top)
    return exps, exps.sum(axis=-1, keepdims=True)
