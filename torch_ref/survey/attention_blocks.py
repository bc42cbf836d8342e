"""Attention blocks: the patches of a feature map are nodes that attend to each other."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_ref.patch_embedding import PatchEmbedding
from torch_ref.transformer import TransformerEncoderLayer


class GraphAttention(nn.Module):
    """Attention of a complete graph's nodes, whose scores are sums of two numbers.

    out = drop(fc_out(concat_h(drop(A_h) v_h))), A_ij = softmax_j(LeakyReLU(q_i + k_j)), with one
    number q_i = W_Q x_i and k_j = W_K x_j for each node and head. q_i + k_j is w^T [x_i || x_j],
    where w is W_Q above W_K. (N, nodes, embed_dim) becomes the same shape.

    Args:
        embed_dim: width of a node.
        num_heads: heads, each with its own W_Q and W_K; 1 in the survey; divides embed_dim.
        attention_dropout, projection_dropout: rates of the two drops.

    Source: Velickovic et al. 2018, arXiv:1710.10903, eq. 1 to 5.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int = 1,
        attention_dropout: float = 0.0,
        projection_dropout: float = 0.0,
    ):
        super().__init__()
        if embed_dim % num_heads != 0:
            raise ValueError(f"embed_dim {embed_dim} is not divisible by num_heads {num_heads}")
        self.num_heads = num_heads
        self.query = nn.Linear(embed_dim, num_heads, bias=False)
        self.key = nn.Linear(embed_dim, num_heads, bias=False)
        self.value = nn.Linear(embed_dim, embed_dim)
        self.attn_drop = nn.Dropout(attention_dropout)
        self.fc_out = nn.Linear(embed_dim, embed_dim)
        self.proj_drop = nn.Dropout(projection_dropout)

    def weights(self, x: Tensor) -> Tensor:
        """A, (N, heads, nodes, nodes): rows i sum to 1 over j."""
        q = self.query(x).transpose(1, 2)  # (N, heads, nodes)
        k = self.key(x).transpose(1, 2)
        scores = F.leaky_relu(q.unsqueeze(3) + k.unsqueeze(2), negative_slope=0.2)
        return scores.softmax(dim=3)

    def forward(self, x: Tensor) -> Tensor:
        batch, nodes, embed_dim = x.shape
        v = self.value(x).reshape(batch, nodes, self.num_heads, -1).transpose(1, 2)
        out = self.attn_drop(self.weights(x)) @ v  # (N, heads, nodes, head_dim)
        out = out.transpose(1, 2).reshape(batch, nodes, embed_dim)
        return self.proj_drop(self.fc_out(out))


class GraphEncoderLayer(TransformerEncoderLayer):
    """TransformerEncoderLayer with GraphAttention; the arguments are the same."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        projection_dropout: float = 0.0,
        **options,
    ):
        super().__init__(embed_dim, num_heads, mlp_ratio, dropout, **options)
        self.attn = GraphAttention(embed_dim, num_heads, attention_dropout, projection_dropout)


class AttentionBlock(nn.Module):
    """One encoder layer over the patches of a feature map, with a class token and a head.

    z = [cls_token, patch_embedding(x)] + positional_embedding; logits = head(norm(layer(z))[0]).
    Feature maps (N, C, H, W) become logits (N, K).

    Args:
        attention: "classic", softmax(Q K^T / sqrt(d)) V, or "graph", GraphAttention.
        img_size, in_channels: height and width, and channels, of the feature map.
        patch_size: side of a node's patch; divides img_size.
        num_classes: K.
        embed_dim, num_heads, options: see TransformerEncoderLayer.

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929.
    """

    def __init__(
        self,
        attention: str = "graph",
        img_size: int = 4,
        patch_size: int = 1,
        in_channels: int = 512,
        num_classes: int = 10,
        embed_dim: int = 256,
        num_heads: int = 1,
        **options,
    ):
        super().__init__()
        self.patch_embedding = PatchEmbedding(img_size, patch_size, in_channels, embed_dim)
        num_nodes = self.patch_embedding.num_patches + 1
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.positional_embedding = nn.Parameter(torch.zeros(1, num_nodes, embed_dim))
        layer = {"classic": TransformerEncoderLayer, "graph": GraphEncoderLayer}[attention]
        self.layer = layer(embed_dim, num_heads, **options)
        self.norm = nn.LayerNorm(embed_dim)
        self.head = nn.Linear(embed_dim, num_classes)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.positional_embedding, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embedding(x)  # (N, num_patches, D)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        x = self.layer(x + self.positional_embedding)
        return self.head(self.norm(x[:, 0]))
