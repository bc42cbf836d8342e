"""What every contestant computes: one model, one batch size, the same weights and images.

NumPy only, so that this is the ground on which contestants of either framework stand.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

MODELS = {  # embed_dim, num_heads, num_layers, patch_size
    "vit-ti16": (192, 3, 12, 16),
    "vit-s16": (384, 6, 12, 16),
    "vit-b16": (768, 12, 12, 16),
    "vit-l16": (1024, 16, 24, 16),
    "vit-tiny-test": (48, 3, 2, 8),
}
NUM_BATCHES = 12  # taken in turns, so that no step sees the batch of the one before


class Product(NamedTuple):
    """`times` products of `batch` matrices (m, k) by as many (k, n)."""

    times: int
    batch: int
    m: int
    k: int
    n: int

    @property
    def flops(self) -> int:
        """Two for each multiplication: it is followed by an addition."""
        return 2 * self.times * self.batch * self.m * self.k * self.n


@dataclass(frozen=True)
class Workload:
    """A model and how it is used.

    Attributes:
      model: a name in MODELS; mlp_ratio is 4.
      img_size: pixels, a multiple of the patch size.
      batch_size: images a step.
      task: train (forward, backward, AdamW) or infer.
      dtype: of the matrix products; parameters are float32.
      dropout, label_smoothing: in training.
      num_classes: K.
      tf32: whether float32 products may be rounded to TensorFloat-32 (on GPUs that have it).
      seed: of the weights and images.
    """

    model: str = "vit-s16"
    img_size: int = 224
    batch_size: int = 32
    task: str = "train"
    dtype: str = "float32"
    dropout: float = 0.1
    label_smoothing: float = 0.1
    num_classes: int = 37
    tf32: bool = True
    seed: int = 0

    @property
    def shape(self) -> dict[str, int]:
        """The model's arguments, which have the same names in both frameworks."""
        embed_dim, num_heads, num_layers, patch_size = MODELS[self.model]
        return {
            "img_size": self.img_size,
            "patch_size": patch_size,
            "num_classes": self.num_classes,
            "embed_dim": embed_dim,
            "num_heads": num_heads,
            "num_layers": num_layers,
        }

    @property
    def products(self) -> list[Product]:
        """The matrix products of one forward pass."""
        embed_dim, num_heads, num_layers, patch = MODELS[self.model]
        patches = (self.img_size // patch) ** 2
        tokens = patches + 1
        rows, heads = self.batch_size * tokens, self.batch_size * num_heads
        head_dim = embed_dim // num_heads
        return [
            Product(1, 1, self.batch_size * patches, 3 * patch * patch, embed_dim),
            Product(num_layers, 1, rows, embed_dim, 3 * embed_dim),
            Product(num_layers, heads, tokens, head_dim, tokens),
            Product(num_layers, heads, tokens, tokens, head_dim),
            Product(num_layers, 1, rows, embed_dim, embed_dim),
            Product(num_layers, 1, rows, embed_dim, 4 * embed_dim),
            Product(num_layers, 1, rows, 4 * embed_dim, embed_dim),
            Product(1, 1, self.batch_size, embed_dim, self.num_classes),
        ]

    @property
    def flops(self) -> int:
        """Of the matrix products of a step, counted and not measured.

        The backward pass has two products for each of the forward's, but for the patches', whose
        images need no gradient. Softmax, norms and the optimiser are not counted.
        """
        forward = sum(product.flops for product in self.products)
        return forward if self.task == "infer" else 3 * forward - self.products[0].flops

    def weights(self) -> dict[str, np.ndarray]:
        """Parameters under PyTorch's names: normal with std .02, but for norms of 1 and 0."""
        rng = np.random.default_rng(self.seed)
        embed_dim, _, num_layers, patch = MODELS[self.model]
        patches = (self.img_size // patch) ** 2

        def normal(*shape: int) -> np.ndarray:
            return rng.normal(0, 0.02, shape).astype(np.float32)

        def linear(name: str, inputs: int, outputs: int) -> dict[str, np.ndarray]:
            return {f"{name}.weight": normal(outputs, inputs), f"{name}.bias": normal(outputs)}

        def norm(name: str) -> dict[str, np.ndarray]:
            ones, zeros = np.ones(embed_dim, np.float32), np.zeros(embed_dim, np.float32)
            return {f"{name}.weight": ones, f"{name}.bias": zeros}

        weights = {
            "cls_token": normal(1, 1, embed_dim),
            "positional_embedding": normal(1, patches + 1, embed_dim),
            "patch_embedding.proj.weight": normal(embed_dim, 3, patch, patch),
            "patch_embedding.proj.bias": normal(embed_dim),
        }
        for number in range(num_layers):
            layer = f"transformer_encoder.layers.{number}"
            weights |= norm(f"{layer}.norm1")
            weights |= linear(f"{layer}.attn.qkv", embed_dim, 3 * embed_dim)
            weights |= linear(f"{layer}.attn.fc_out", embed_dim, embed_dim)
            weights |= norm(f"{layer}.norm2")
            weights |= linear(f"{layer}.mlp.0", embed_dim, 4 * embed_dim)
            weights |= linear(f"{layer}.mlp.3", 4 * embed_dim, embed_dim)
        return weights | norm("norm") | linear("head", embed_dim, self.num_classes)

    def batches(self) -> dict[str, np.ndarray]:
        """Random pixels: images, uint8 (NUM_BATCHES, B, H, W, 3), and labels, int32."""
        rng = np.random.default_rng(self.seed + 1)
        size = (NUM_BATCHES, self.batch_size)
        return {
            "images": rng.integers(0, 256, (*size, self.img_size, self.img_size, 3), np.uint8),
            "labels": rng.integers(0, self.num_classes, size, np.int32),
        }

    def write(self, directory: Path) -> None:
        """weights.npz and batches.npz, which all contestants read."""
        np.savez(directory / "weights.npz", **self.weights())
        np.savez(directory / "batches.npz", **self.batches())
