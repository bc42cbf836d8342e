"""Augmentation of training images before they are normalised, with torchvision's transforms."""

from torch import float32
from torchvision import transforms


def make_augmentation(
    img_size: int,
    *,
    pad: int = 0,
    flip_p: float = 0.0,
    rotate: float = 0.0,
    trivial: bool = False,
    rand_ops: int = 0,
    rand_magnitude: int = 9,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
    jitter_p: float = 1.0,
    grey_p: float = 0.0,
) -> transforms.Compose:
    """From a PIL image of img_size x img_size pixels to an augmented tensor (C, H, W) in [0, 1].

    Crops of the padded image, flips, rotations and the operations of TrivialAugment or RandAugment
    work on bytes, colour jitter and grey on floats.

    Args:
        img_size: height and width, in pixels.
        pad: black pixels on every side of the image that crops are taken from; 0 for no crops.
        flip_p: probability of a horizontal flip.
        rotate: angles are drawn from [-rotate, rotate], in degrees; 0 for none.
        trivial: TrivialAugmentWide.
        rand_ops, rand_magnitude: operations of RandAugment and their magnitude; 0 for none.
        brightness, contrast, saturation, hue: of ColorJitter; 0 for none.
        jitter_p: probability of colour jitter.
        grey_p: probability that an image is made grey.
    """
    steps = [transforms.PILToTensor()]
    if pad > 0:
        steps.append(transforms.RandomCrop(img_size, padding=pad))
    if flip_p > 0:
        steps.append(transforms.RandomHorizontalFlip(flip_p))
    if rotate > 0:
        steps.append(transforms.RandomRotation(rotate))
    if trivial:
        steps.append(transforms.TrivialAugmentWide())
    if rand_ops > 0:
        steps.append(transforms.RandAugment(rand_ops, rand_magnitude))
    steps.append(transforms.ConvertImageDtype(float32))
    if any((brightness, contrast, saturation, hue)):
        jitter = transforms.ColorJitter(brightness, contrast, saturation, hue)
        steps.append(transforms.RandomApply([jitter], jitter_p))
    if grey_p > 0:
        steps.append(transforms.RandomGrayscale(grey_p))
    return transforms.Compose(steps)
