"""Cutout: sets squares of an image to 0."""

import torch
from torch import Tensor


class Cutout:
    """Sets n_holes squares of an image to 0.

    x' = 0 inside a hole, x outside. Centres are uniform over the pixels, and holes are clipped at
    the border. The value 0 is black before normalisation and the mean colour after it. The
    training pipeline applies Cutout after normalisation. The image keeps its dtype.

    Args:
        n_holes: number of holes, at least 0.
        length: side of a hole, in pixels.

    Source: DeVries and Taylor 2017, arXiv:1708.04552.
    """

    def __init__(self, n_holes: int, length: int):
        self.n_holes = n_holes
        self.length = length

    def draw(self, height: int, width: int) -> Tensor:
        """Clipped holes as rows (top, left, bottom, right) in pixels, int64 (n_holes, 4)."""
        holes = []
        for _ in range(self.n_holes):
            top = torch.randint(height, ()).item() - self.length // 2
            left = torch.randint(width, ()).item() - self.length // 2
            bottom, right = top + self.length, left + self.length
            holes.append([max(top, 0), max(left, 0), min(bottom, height), min(right, width)])
        return torch.tensor(holes, dtype=torch.int64).reshape(-1, 4)

    def apply(self, image: Tensor, holes: Tensor) -> Tensor:
        """A copy of the image (C, H, W) with these holes."""
        image = image.clone()
        for top, left, bottom, right in holes.tolist():
            image[:, top:bottom, left:right] = 0
        return image

    def __call__(self, image: Tensor) -> Tensor:
        """Draws holes for an image (C, H, W) and applies them."""
        return self.apply(image, self.draw(*image.shape[1:]))


if __name__ == "__main__":
    from torch_ref.demonstration import demonstrate

    def cut(images: Tensor, labels: Tensor, class_names: list[str]):
        side = images.shape[-1]
        cutout = Cutout(n_holes=1, length=side // 3)
        holes = f"1 hole of {side // 3} x {side // 3}"
        return (
            torch.stack([cutout(image) for image in images]),
            [f"{class_names[label]}\n{holes}" for label in labels.tolist()],
        )

    demonstrate("cutout", cut)
