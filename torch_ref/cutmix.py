"""CutMix: a box of each image replaced by the same box of another of its batch."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class CutmixDraw(NamedTuple):
    """partner, a permutation of the batch, and one box an image.

    Boxes are rows (top, left, bottom, right), int64 (N, 4): rows top to bottom - 1 and columns
    left to right - 1; a sample left alone has an empty one.
    """

    partner: Tensor
    boxes: Tensor


class Cutmix:
    """Pastes a box from a partner image, for each sample with probability p.

    One permutation of the batch; then for each sample: lam ~ Beta(alpha, alpha), a box with side
    ratio sqrt(1 - lam) whose centre is uniform over the image and whose corners are clipped to
    it. lam is recomputed as 1 - box area / (H W); samples left alone have lam 1. With alpha <= 0
    or p <= 0 the batch comes back as it is.

    All randomness is PyTorch's, so torch.manual_seed fixes it.

    Source: Yun et al. 2019, arXiv:1905.04899.
    """

    def __init__(self, alpha: float = 1.0, p: float = 0.5):
        self.alpha = alpha
        self.p = p

    def draw_box(self, height: int, width: int) -> list[int]:
        lam = torch.distributions.Beta(self.alpha, self.alpha).sample().item()
        box_height, box_width = self.box_sides(lam, height, width)
        top = torch.randint(height, ()).item() - box_height // 2
        left = torch.randint(width, ()).item() - box_width // 2
        bottom, right = top + box_height, left + box_width
        return [max(top, 0), max(left, 0), min(bottom, height), min(right, width)]

    @staticmethod
    def box_sides(lam: float, height: int, width: int) -> tuple[int, int]:
        ratio = math.sqrt(1 - lam)
        return int(height * ratio), int(width * ratio)

    def draw(self, batch_size: int, height: int, width: int) -> CutmixDraw:
        partner = torch.randperm(batch_size)
        boxes = torch.zeros(batch_size, 4, dtype=torch.int64)
        for n in range(batch_size):
            if torch.rand(()).item() < self.p:
                boxes[n] = torch.tensor(self.draw_box(height, width))
        return CutmixDraw(partner, boxes)

    def apply(
        self, images: Tensor, labels: Tensor, draw: CutmixDraw
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        height, width = images.shape[2:]
        mixed_images = images.clone()
        lam_batch = torch.ones(len(images))
        for n, (top, left, bottom, right) in enumerate(draw.boxes.tolist()):
            partner_image = images[draw.partner[n]]
            mixed_images[n, :, top:bottom, left:right] = partner_image[:, top:bottom, left:right]
            lam_batch[n] = 1 - (bottom - top) * (right - left) / (height * width)
        return mixed_images, labels, labels[draw.partner], lam_batch

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(N, C, H, W), (N,) to (mixed_images, labels_a, labels_b, lam_batch (N,))."""
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
