"""Multi-head self-attention."""

from torch import Tensor, nn


class MultiHeadSelfAttention(nn.Module):
    """Scaled dot-product attention of a sequence with itself, over several heads.

    out = drop(fc_out(concat_h(drop(softmax(q_h k_h^T / sqrt(head_dim))) v_h))), where
    head_dim = embed_dim / num_heads. (N, tokens, embed_dim) becomes the same shape.

    Args:
        embed_dim: width of a token.
        num_heads: number of heads; divides embed_dim.
        qkv_bias: whether q, k and v have a bias.
        attention_dropout, projection_dropout: rates of the two drops; the lab has none.

    Raises:
        ValueError: embed_dim is not divisible by num_heads.

    Source: Vaswani et al. 2017, arXiv:1706.03762.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        qkv_bias: bool = True,
        attention_dropout: float = 0.0,
        projection_dropout: float = 0.0,
    ):
        super().__init__()
        if embed_dim % num_heads != 0:
            raise ValueError(f"embed_dim {embed_dim} is not divisible by num_heads {num_heads}")
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=qkv_bias)
        self.attn_drop = nn.Dropout(attention_dropout)
        self.fc_out = nn.Linear(embed_dim, embed_dim)
        self.proj_drop = nn.Dropout(projection_dropout)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, embed_dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (N, heads, tokens, head_dim)
        scores = q @ k.transpose(-2, -1) * self.head_dim**-0.5
        weights = self.attn_drop(scores.softmax(dim=-1))  # (N, heads, tokens, tokens)
        out = (weights @ v).transpose(1, 2).reshape(batch, tokens, embed_dim)
        return self.proj_drop(self.fc_out(out))
