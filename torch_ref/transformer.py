"""The transformer encoder, and the Vision Transformer that uses it."""

import torch
from torch import Tensor, nn

from torch_ref.multi_head_attention import MultiHeadSelfAttention
from torch_ref.patch_embedding import PatchEmbedding


class TransformerEncoderLayer(nn.Module):
    """A pre-norm encoder layer.

    x = x + attn(norm1(x)), then x + mlp(norm2(x)). The MLP is linear, exact GELU, dropout, linear,
    dropout. There is no dropout elsewhere. (N, tokens, embed_dim) becomes the same shape.

    Args:
        embed_dim: width of a token.
        num_heads: heads of the attention; divides embed_dim.
        mlp_ratio: the MLP has int(embed_dim mlp_ratio) hidden units.
        dropout: rate in [0, 1].

    Raises:
        ValueError: embed_dim is not divisible by num_heads.

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929, eq. 2 and 3.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, mlp_ratio: float = 4.0, dropout: float = 0.1
    ):
        super().__init__()
        hidden_dim = int(embed_dim * mlp_ratio)
        self.norm1 = nn.LayerNorm(embed_dim)
        self.attn = MultiHeadSelfAttention(embed_dim, num_heads)
        self.norm2 = nn.LayerNorm(embed_dim)
        self.mlp = nn.Sequential(
            nn.Linear(embed_dim, hidden_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, embed_dim),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TransformerEncoder(nn.Module):
    """num_layers encoder layers in sequence; (N, tokens, embed_dim) becomes the same shape.

    Args:
        num_layers: number of layers.
        embed_dim, num_heads, mlp_ratio, dropout: see TransformerEncoderLayer.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_layers: int,
        mlp_ratio: float = 4.0,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.layers = nn.ModuleList(
            TransformerEncoderLayer(embed_dim, num_heads, mlp_ratio, dropout)
            for _ in range(num_layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class VisionTransformer(nn.Module):
    """An image classifier on the class token of a transformer encoder.

    z = [cls_token, patch_embedding(x)] + positional_embedding;
    logits = head(norm(transformer_encoder(z)[:, 0])).
    Images (N, C, H, W) become logits (N, K).

    cls_token and positional_embedding are initialised from a truncated normal distribution of
    standard deviation .02, everything else by PyTorch's defaults. With the default arguments the
    model has 85,827,109 parameters.

    Args:
        img_size, patch_size, in_channels: see PatchEmbedding.
        num_classes: K.
        embed_dim, num_heads, num_layers, mlp_ratio, dropout: see TransformerEncoder.

    Raises:
        ValueError: patch_size does not divide img_size, num_heads does not divide embed_dim, or
            an image is not of the model's size, for which positional_embedding was made.

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929, eq. 1 to 4.
    """

    def __init__(
        self,
        img_size: int = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        num_classes: int = 37,
        embed_dim: int = 768,
        num_heads: int = 12,
        num_layers: int = 12,
        mlp_ratio: float = 4.0,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.patch_embedding = PatchEmbedding(img_size, patch_size, in_channels, embed_dim)
        num_tokens = self.patch_embedding.num_patches + 1
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.positional_embedding = nn.Parameter(torch.zeros(1, num_tokens, embed_dim))
        self.transformer_encoder = TransformerEncoder(
            embed_dim, num_heads, num_layers, mlp_ratio, dropout
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.head = nn.Linear(embed_dim, num_classes)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.positional_embedding, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embedding(x)  # (N, num_patches, D)
        cls_token = self.cls_token.expand(x.shape[0], -1, -1)
        x = torch.cat([cls_token, x], dim=1)  # (N, num_patches + 1, D)
        x = self.transformer_encoder(x + self.positional_embedding)
        return self.head(self.norm(x[:, 0]))
