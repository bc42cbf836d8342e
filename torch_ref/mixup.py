"""Mixup: each example blended with another of its batch."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class MixupDraw(NamedTuple):
    """One blend for the batch: lam in [0, 1], and partner, a permutation of the batch."""

    lam: Tensor
    partner: Tensor


class Mixup:
    """Blends images and one-hot labels alike: x' = lam x + (1 - lam) x[partner].

    One lam ~ Beta(alpha, alpha) and one permutation a batch. With alpha <= 0 the images come
    back as they are, with plain one-hot labels.

    Source: Zhang et al. 2018, arXiv:1710.09412.
    """

    def __init__(self, num_classes: int, alpha: float = 1.0):
        self.num_classes = num_classes
        self.alpha = alpha

    def draw(self, batch_size: int) -> MixupDraw:
        lam = torch.distributions.Beta(self.alpha, self.alpha).sample()
        return MixupDraw(lam, torch.randperm(batch_size))

    def apply(self, images: Tensor, labels: Tensor, draw: MixupDraw) -> tuple[Tensor, Tensor]:
        lam, partner = draw
        one_hot = F.one_hot(labels, self.num_classes).to(images.dtype)  # (N, K)
        mixed_images = lam * images + (1 - lam) * images[partner]
        mixed_labels = lam * one_hot + (1 - lam) * one_hot[partner]
        return mixed_images, mixed_labels

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) and (N,) to mixed images and mixed labels (N, K)."""
        if self.alpha <= 0:
            return images, F.one_hot(labels, self.num_classes).to(images.dtype)
        return self.apply(images, labels, self.draw(len(images)))


if __name__ == "__main__":
    from torch_ref.demonstration import demonstrate

    def mix(images: Tensor, labels: Tensor, class_names: list[str]):
        images, targets = Mixup(len(class_names))(images, labels)
        captions = []
        for target in targets:
            shares = target.topk(2)
            captions.append(
                "\n".join(
                    f"{share:.2f} {class_names[label]}"
                    for share, label in zip(*map(Tensor.tolist, shares), strict=True)
                    if share > 0
                )
            )
        return images, captions

    demonstrate("mixup", mix)
