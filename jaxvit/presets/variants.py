"""The sizes of named Vision Transformers."""

from typing import NamedTuple


class Variant(NamedTuple):
    """The size of a named Vision Transformer; mlp_ratio is 4."""

    embed_dim: int
    num_heads: int
    num_layers: int
    patch_size: int


# Source: Dosovitskiy et al. 2021, arXiv:2010.11929, table 1; Touvron et al. 2021, arXiv:2012.12877.
VARIANTS = {
    "vit-ti16": Variant(192, 3, 12, 16),
    "vit-s16": Variant(384, 6, 12, 16),
    "vit-b16": Variant(768, 12, 12, 16),
    "vit-l16": Variant(1024, 16, 24, 16),
}
