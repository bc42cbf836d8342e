"""What every candidate computes: one model, one batch size, the same weights and images.

NumPy only, so that the inputs depend on neither framework.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxvit.presets.variants import VARIANTS, Variant

# Name -> size; the last one is for tests.
MODELS = VARIANTS | {"vit-tiny-test": Variant(48, 3, 2, 8)}
NUM_BATCHES = 12  # cycled through, so that consecutive steps get different batches


class Matmul(NamedTuple):
    """`times` batched matmuls, each of `batch` pairs of matrices (m, k) and (k, n)."""

    times: int
    batch: int
    m: int
    k: int
    n: int

    @property
    def flops(self) -> int:
        """A multiplication and an addition count as two."""
        return 2 * self.times * self.batch * self.m * self.k * self.n


@dataclass(frozen=True)
class Workload:
    """A model, its inputs and what is timed.

    Attributes:
      model: a name in MODELS; mlp_ratio is 4.
      img_size: pixels, a multiple of the patch size.
      batch_size: images per step.
      task: train (forward, backward, AdamW) or infer.
      dtype: of the matmuls; parameters are float32.
      dropout, label_smoothing: in training.
      num_classes: K.
      tf32: whether float32 matmuls may use TensorFloat-32 (on GPUs that have it).
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
        size = MODELS[self.model]._asdict()
        return {"img_size": self.img_size, "num_classes": self.num_classes, **size}

    @property
    def matmuls(self) -> list[Matmul]:
        """The matmuls of one forward pass, of all tokens in every layer.

        Ours computes only the class token in most of the last layer, and is given these FLOPs too.
        """
        embed_dim, num_heads, num_layers, patch = MODELS[self.model]
        patches = (self.img_size // patch) ** 2
        tokens = patches + 1
        rows, heads = self.batch_size * tokens, self.batch_size * num_heads
        head_dim = embed_dim // num_heads
        return [
            Matmul(1, 1, self.batch_size * patches, 3 * patch * patch, embed_dim),
            Matmul(num_layers, 1, rows, embed_dim, 3 * embed_dim),
            Matmul(num_layers, heads, tokens, head_dim, tokens),
            Matmul(num_layers, heads, tokens, tokens, head_dim),
            Matmul(num_layers, 1, rows, embed_dim, embed_dim),
            Matmul(num_layers, 1, rows, embed_dim, 4 * embed_dim),
            Matmul(num_layers, 1, rows, 4 * embed_dim, embed_dim),
            Matmul(1, 1, self.batch_size, embed_dim, self.num_classes),
        ]

    @property
    def flops(self) -> int:
        """FLOPs of the matmuls of one step, computed from their shapes.

        The backward pass has two matmuls for each one of the forward pass. The patch embedding has
        one, as images need no gradient. Softmax, LayerNorm and the optimiser are not counted.
        """
        forward = sum(matmul.flops for matmul in self.matmuls)
        return forward if self.task == "infer" else 3 * forward - self.matmuls[0].flops

    def weights(self) -> dict[str, np.ndarray]:
        """Parameters by their PyTorch names: normal with std .02; LayerNorm has scale 1, bias 0."""
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
        """Writes weights.npz and batches.npz, which all candidates read."""
        np.savez(directory / "weights.npz", **self.weights())
        np.savez(directory / "batches.npz", **self.batches())
