"""The transformer encoder, and the Vision Transformer that uses it."""

import torch
from torch import Tensor, nn

from torch_ref.drop_path import DropPath, drop_path_rate
from torch_ref.layer_scale import LayerScale
from torch_ref.multi_head_attention import MultiHeadSelfAttention
from torch_ref.patch_embedding import PatchEmbedding


class TransformerEncoderLayer(nn.Module):
    """A pre-norm encoder layer.

    x = x + drop_path(ls1(attn(norm1(x)))), then x + drop_path(ls2(mlp(norm2(x)))). The MLP is
    linear, GELU, dropout, linear, dropout. (N, tokens, embed_dim) becomes the same shape. With the
    defaults this is the lab's layer: no LayerScale, no stochastic depth, no dropout but the MLP's.

    Args:
        embed_dim: width of a token.
        num_heads: heads of the attention; divides embed_dim.
        mlp_ratio: the MLP has int(embed_dim mlp_ratio) hidden units.
        dropout: rate in [0, 1], in the MLP.
        norm_eps: of every LayerNorm.
        gelu: "erf", the exact one, or "tanh".
        layer_scale: initial gamma of LayerScale; 0 for none.
        qkv_bias, attention_dropout, projection_dropout: see MultiHeadSelfAttention.
        activation_dropout: rate after GELU where it is not dropout.
        drop_path: rate of stochastic depth of this layer.

    Raises:
        ValueError: embed_dim is not divisible by num_heads.

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929, eq. 2 and 3.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        dropout: float = 0.1,
        norm_eps: float = 1e-5,
        gelu: str = "erf",
        layer_scale: float = 0.0,
        qkv_bias: bool = True,
        attention_dropout: float = 0.0,
        projection_dropout: float = 0.0,
        activation_dropout: float | None = None,
        drop_path: float = 0.0,
    ):
        super().__init__()
        hidden_dim = int(embed_dim * mlp_ratio)
        self.norm1 = nn.LayerNorm(embed_dim, norm_eps)
        self.attn = MultiHeadSelfAttention(
            embed_dim, num_heads, qkv_bias, attention_dropout, projection_dropout
        )
        self.ls1 = LayerScale(embed_dim, layer_scale) if layer_scale else nn.Identity()
        self.drop_path1 = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(embed_dim, norm_eps)
        self.mlp = nn.Sequential(
            nn.Linear(embed_dim, hidden_dim),
            nn.GELU(approximate="none" if gelu == "erf" else "tanh"),
            nn.Dropout(dropout if activation_dropout is None else activation_dropout),
            nn.Linear(hidden_dim, embed_dim),
            nn.Dropout(dropout),
        )
        self.ls2 = LayerScale(embed_dim, layer_scale) if layer_scale else nn.Identity()
        self.drop_path2 = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x))))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))


class TransformerEncoder(nn.Module):
    """num_layers encoder layers in sequence; (N, tokens, embed_dim) becomes the same shape.

    Args:
        num_layers: number of layers.
        drop_path: rate of stochastic depth in the last layer; it rises linearly from 0.
        embed_dim, num_heads, mlp_ratio, dropout, options: see TransformerEncoderLayer.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_layers: int,
        mlp_ratio: float = 4.0,
        dropout: float = 0.1,
        drop_path: float = 0.0,
        **options,
    ):
        super().__init__()
        rates = [drop_path_rate(drop_path, i, num_layers) for i in range(num_layers)]
        self.layers = nn.ModuleList(
            TransformerEncoderLayer(
                embed_dim, num_heads, mlp_ratio, dropout, drop_path=rate, **options
            )
            for rate in rates
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class VisionTransformer(nn.Module):
    """An image classifier on the class token of a transformer encoder.

    z = drop([cls_token, patch_embedding(x)] + positional_embedding), with the register tokens, if
    there are any, inserted after the class token, without positions;
    logits = head(pool(norm(transformer_encoder(z)))).
    Images (N, C, H, W) become logits (N, K).

    cls_token and positional_embedding are initialised from a truncated normal distribution of
    standard deviation .02, everything else by PyTorch's defaults. With the default arguments the
    model has 85,827,109 parameters.

    Args:
        img_size, patch_size, in_channels: see PatchEmbedding.
        num_classes: K; 0 for a model without a head, which gives the features.
        embed_dim, num_heads, num_layers, mlp_ratio, dropout, options: see TransformerEncoder.
        pool: what the head sees: "cls" the class token, "mean" the mean of the patches, "both" the
            two side by side.
        register_tokens: how many; the lab has none.
        embedding_dropout: rate of the dropout before the encoder.
        patch_norm: see PatchEmbedding.

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
        pool: str = "cls",
        register_tokens: int = 0,
        embedding_dropout: float = 0.0,
        norm_eps: float = 1e-5,
        patch_norm: bool = False,
        **options,
    ):
        super().__init__()
        self.pool, self.register_tokens = pool, register_tokens
        self.patch_embedding = PatchEmbedding(
            img_size, patch_size, in_channels, embed_dim, patch_norm, norm_eps
        )
        num_tokens = self.patch_embedding.num_patches + 1
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.positional_embedding = nn.Parameter(torch.zeros(1, num_tokens, embed_dim))
        if register_tokens:
            self.registers = nn.Parameter(torch.zeros(1, register_tokens, embed_dim))
            nn.init.trunc_normal_(self.registers, std=0.02)
        self.embedding_drop = nn.Dropout(embedding_dropout)
        self.transformer_encoder = TransformerEncoder(
            embed_dim, num_heads, num_layers, mlp_ratio, dropout, norm_eps=norm_eps, **options
        )
        self.norm = nn.LayerNorm(embed_dim, norm_eps)
        features = embed_dim * (2 if pool == "both" else 1)
        self.head = nn.Linear(features, num_classes) if num_classes else nn.Identity()
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.positional_embedding, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embedding(x)  # (N, num_patches, D)
        cls_token = self.cls_token.expand(x.shape[0], -1, -1)
        x = torch.cat([cls_token, x], dim=1)  # (N, num_patches + 1, D)
        x = self.embedding_drop(x + self.positional_embedding)
        if self.register_tokens:
            registers = self.registers.expand(x.shape[0], -1, -1)
            x = torch.cat([x[:, :1], registers, x[:, 1:]], dim=1)
        x = self.transformer_encoder(x)
        if self.pool == "cls":
            return self.head(self.norm(x[:, 0]))
        x = self.norm(x)
        mean = x[:, 1 + self.register_tokens :].mean(dim=1)
        return self.head(mean if self.pool == "mean" else torch.cat([x[:, 0], mean], dim=1))
