"""CutMix: replaces a box of an image by the same box of another image of the batch."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class CutmixDraw(NamedTuple):
    """The random draws for one batch of N images.

    Attributes:
        partner: a permutation of the batch, int64 (N,).
        boxes: one box per image as (top, left, bottom, right), int64 (N, 4). A box covers the
            pixels of rows top to bottom - 1 and columns left to right - 1. An image that is not
            mixed has an empty box.
    """

    partner: Tensor
    boxes: Tensor


class Cutmix:
    """Replaces a box of each image, with probability p, by the same box of a partner image.

    x' = x[partner] inside the box, x outside. The loss is lam loss(labels_a) + (1 - lam)
    loss(labels_b), with lam = 1 - box area / (H W).

    The batch has one permutation of partners. Each image has its own box. A first
    lam ~ Beta(alpha, alpha) gives the sides of the box, floor(H sqrt(1 - lam)) and
    floor(W sqrt(1 - lam)). The centre is uniform over the pixels, and the box is clipped to the
    image. lam is then recomputed from the clipped box; an image that is not mixed has lam = 1.

    All draws use PyTorch's generator, which torch.manual_seed sets.

    Args:
        alpha: of the Beta distribution; with alpha <= 0 a call returns the batch unchanged.
        p: probability in [0, 1] that an image is mixed; with p <= 0 likewise.

    Source: Yun et al. 2019, arXiv:1905.04899.
    """

    def __init__(self, alpha: float = 1.0, p: float = 0.5):
        self.alpha = alpha
        self.p = p

    def draw_box(self, height: int, width: int) -> list[int]:
        """One clipped box (top, left, bottom, right), in pixels."""
        lam = torch.distributions.Beta(self.alpha, self.alpha).sample().item()
        box_height, box_width = self.box_sides(lam, height, width)
        top = torch.randint(height, ()).item() - box_height // 2
        left = torch.randint(width, ()).item() - box_width // 2
        bottom, right = top + box_height, left + box_width
        return [max(top, 0), max(left, 0), min(bottom, height), min(right, width)]

    @staticmethod
    def box_sides(lam: float, height: int, width: int) -> tuple[int, int]:
        """floor(H sqrt(1 - lam)) rows and floor(W sqrt(1 - lam)) columns, for lam in [0, 1]."""
        ratio = math.sqrt(1 - lam)
        return int(height * ratio), int(width * ratio)

    def draw(self, batch_size: int, height: int, width: int) -> CutmixDraw:
        """Partners and boxes for one batch; alpha has to be above 0."""
        partner = torch.randperm(batch_size)
        boxes = torch.zeros(batch_size, 4, dtype=torch.int64)
        for n in range(batch_size):
            if torch.rand(()).item() < self.p:
                boxes[n] = torch.tensor(self.draw_box(height, width))
        return CutmixDraw(partner, boxes)

    def apply(
        self, images: Tensor, labels: Tensor, draw: CutmixDraw
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mixes a batch with given draws; arguments and results as in __call__."""
        height, width = images.shape[2:]
        mixed_images = images.clone()
        lam_batch = torch.ones(len(images))
        for n, (top, left, bottom, right) in enumerate(draw.boxes.tolist()):
            partner_image = images[draw.partner[n]]
            mixed_images[n, :, top:bottom, left:right] = partner_image[:, top:bottom, left:right]
            lam_batch[n] = 1 - (bottom - top) * (right - left) / (height * width)
        return mixed_images, labels, labels[draw.partner], lam_batch

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draws and applies.

        Args:
            images: (N, C, H, W).
            labels: class indices, int64 (N,).

        Returns:
            mixed_images (N, C, H, W), labels_a (N,) of the images, labels_b (N,) of the partners,
            and lam_batch, float32 (N,), the fraction of each image that is not replaced.
        """
        if self.alpha <= 0 or self.p <= 0:
            return images, labels, labels, torch.ones(len(images))
        return self.apply(images, labels, self.draw(len(images), *images.shape[2:]))


if __name__ == "__main__":
    from torch_ref.demonstration import demonstrate

    def cut(images: Tensor, labels: Tensor, class_names: list[str]):
        images, labels_a, labels_b, lam_batch = Cutmix(p=1.0)(images, labels)
        rows = zip(labels_a.tolist(), labels_b.tolist(), lam_batch.tolist(), strict=True)
        captions = [
            f"{lam:.2f} {class_names[a]}\n{1 - lam:.2f} {class_names[b]}" for a, b, lam in rows
        ]
        return images, captions

    demonstrate("cutmix", cut)
