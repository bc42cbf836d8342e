"""Views of an image: independent draws of one augmentation, with torchvision's transforms."""

from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class Views:
    """A PIL image to (V, C, H, W): the augmentation is called once for each view.

    Args:
        augmentation: from a PIL image to a tensor.
        number: V.
    """

    def __init__(self, augmentation: Callable[[Image.Image], Tensor], number: int = 2):
        self.augmentation, self.number = augmentation, number

    def __call__(self, image: Image.Image) -> Tensor:
        return torch.stack([self.augmentation(image) for _ in range(self.number)])


def blog_augmentation(degrees: float = 35.0, jitter: tuple = (0.4, 0.4, 0.4, 0.1)):
    """Rotation and colour jitter, as the blog meant them, then normalisation.

    Args:
        degrees: angles are drawn from [-degrees, degrees].
        jitter: strengths of ColorJitter. The blog gives none, which changes nothing: these are
            torchvision's customary ones for self-supervised learning.
    """
    return transforms.Compose(
        [
            transforms.PILToTensor(),
            transforms.RandomRotation(degrees),
            transforms.ConvertImageDtype(torch.float32),
            transforms.ColorJitter(*jitter),
            transforms.Normalize(MEAN, STD),
        ]
    )


def paper_augmentation(
    size: int,
    scale: tuple[float, float],
    jitter: tuple = (0.8, 0.8, 0.8, 0.2),
    jitter_p: float = 0.8,
    grey_p: float = 0.2,
    blur_p: float = 0.5,
    blur_kernel: int = 9,
):
    """The paper's views: crop, flip, colour jitter, grey and blur, then normalisation.

    Args:
        size: of the view, in pixels.
        scale: range of the crop's area over the image's.
        jitter, jitter_p: strengths of ColorJitter, and its probability.
        grey_p, blur_p: probabilities.
        blur_kernel: of the blur, whose sigma is drawn from .1 to 2 pixels. The authors use
            Pillow's, which approximates a Gaussian.
    """
    return transforms.Compose(
        [
            transforms.ToTensor(),
            transforms.RandomResizedCrop(size, scale, antialias=True),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([transforms.ColorJitter(*jitter)], jitter_p),
            transforms.RandomGrayscale(grey_p),
            transforms.RandomApply([transforms.GaussianBlur(blur_kernel, (0.1, 2.0))], blur_p),
            transforms.Normalize(MEAN, STD),
        ]
    )
