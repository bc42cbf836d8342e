"""Mixup: averages each example with another example of the batch."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class MixupDraw(NamedTuple):
    """The random draws for one batch of N examples.

    Attributes:
        lam: weight of the example itself in [0, 1], one for the batch, float32 ().
        partner: a permutation of the batch, int64 (N,).
    """

    lam: Tensor
    partner: Tensor


class Mixup:
    """Averages each example with a partner, with weights lam and 1 - lam.

    x' = lam x + (1 - lam) x[partner] and y' = lam y + (1 - lam) y[partner], with one-hot y. Each
    batch has one lam ~ Beta(alpha, alpha) and one permutation of partners.

    Args:
        num_classes: K.
        alpha: of the Beta distribution; with alpha <= 0 a call returns the images unchanged and
            one-hot labels.

    Source: Zhang et al. 2018, arXiv:1710.09412.
    """

    def __init__(self, num_classes: int, alpha: float = 1.0):
        self.num_classes = num_classes
        self.alpha = alpha

    def draw(self, batch_size: int) -> MixupDraw:
        """lam and partners for one batch; alpha has to be above 0."""
        lam = torch.distributions.Beta(self.alpha, self.alpha).sample()
        return MixupDraw(lam, torch.randperm(batch_size))

    def apply(self, images: Tensor, labels: Tensor, draw: MixupDraw) -> tuple[Tensor, Tensor]:
        """Mixes a batch with given draws; arguments and results as in __call__."""
        lam, partner = draw
        one_hot = F.one_hot(labels, self.num_classes).to(images.dtype)  # (N, K)
        mixed_images = lam * images + (1 - lam) * images[partner]
        mixed_labels = lam * one_hot + (1 - lam) * one_hot[partner]
        return mixed_images, mixed_labels

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Draws and applies.

        Args:
            images: (N, C, H, W), of a float dtype.
            labels: class indices, int64 (N,).

        Returns:
            Mixed images (N, C, H, W), and mixed labels (N, K) whose rows sum to 1.
        """
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
