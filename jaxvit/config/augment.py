"""Augmentation."""

import math
from dataclasses import dataclass
from typing import Literal

from jaxvit.config.checks import count, option, require, span, within


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentation in the compiled step."""

    # Area of the random resized crop, as a range of fractions of the image's; 1 1 disables it.
    crop_scale: tuple[float, float] = option((1.0, 1.0), span(0, 1, " of shares"))
    # Range of the crop's width over its height.
    crop_ratio: tuple[float, float] = option((3 / 4, 4 / 3), span(0, math.inf, ""))
    flip_p: float = option(0.0, within(0, 1))  # Probability of a horizontal flip.
    # Random crops of the image's size from the image with this many black pixels on every side, as
    # 4 for CIFAR-10; 0 disables them.
    pad: int = option(0, count(0, 4096))
    # Rotation about the centre by an angle in [-rotate, rotate] degrees; 0 disables it.
    rotate: float = option(0.0, within(0, 180))
    # How a rotated image is read: the nearest pixel, or the mean of four.
    rotate_interpolation: Literal["nearest", "bilinear"] = "nearest"
    # TrivialAugment (wide): one of 14 operations for each image, of random strength.
    trivial: bool = False
    # RandAugment: operations for each image, of the same 14; 0 disables it.
    rand_ops: int = option(0, count(0, 100))
    rand_magnitude: int = option(9, count(0, 30))  # Their strength, of 30.
    # Colour jitter: factors in [1 - x, 1 + x] for the first three, and turns of the hue circle in
    # [-hue, hue]; 0 disables each.
    brightness: float = option(0.0, within(0, 100))
    contrast: float = option(0.0, within(0, 100))
    saturation: float = option(0.0, within(0, 100))
    hue: float = option(0.0, within(0, 0.5))
    jitter_p: float = option(1.0, within(0, 1))  # Probability of colour jitter for an image.
    grey_p: float = option(0.0, within(0, 1))  # Probability that an image is made grey.
    blur_p: float = option(0.0, within(0, 1))  # Probability of a Gaussian blur of an image.
    # Its standard deviation, in pixels: drawn from this range.
    blur_sigma: tuple[float, float] = option((0.1, 2.0), span(0, 1000, " of pixels"))
    blur_kernel: int = option(9, count(3, 999))  # Its width, in pixels; odd.
    # Cutout: squares in each image that are filled with the mean colour; 0 disables it.
    cutout_holes: int = option(0, count(0, 1000))
    cutout_length: int = option(16, count(1, 4096))  # Side of such a square, in pixels.
    # Mixup: lam ~ Beta(alpha, alpha), one draw for each batch; 0 disables it.
    mixup_alpha: float = option(0.0, within(0, 1e6))
    # CutMix: lam ~ Beta(alpha, alpha), one draw for each sample; 0 disables it.
    cutmix_alpha: float = option(0.0, within(0, 1e6))
    cutmix_p: float = option(0.5, within(0, 1))  # Probability of CutMix for a sample.
    # If Mixup and CutMix are both enabled, a batch gets CutMix with this probability, else Mixup.
    cutmix_share: float = option(0.5, within(0, 1))

    @property
    def jitters(self) -> bool:
        """Whether colour jitter changes images."""
        return self.jitter_p > 0 and any(
            (self.brightness, self.contrast, self.saturation, self.hue)
        )

    @property
    def on_pixels(self) -> bool:
        """Whether an augmentation is enabled that works on pixels before normalisation."""
        return self.jitters or any(
            (self.pad, self.rotate, self.trivial, self.rand_ops, self.grey_p, self.blur_p)
        )

    @property
    def mixes(self) -> bool:
        """Whether Mixup is enabled."""
        return self.mixup_alpha > 0

    @property
    def cuts(self) -> bool:
        """Whether CutMix is enabled."""
        return self.cutmix_alpha > 0 and self.cutmix_p > 0

    @property
    def enabled(self) -> bool:
        """Whether any augmentation is."""
        return self.on_pixels or any(
            (
                self.crop_scale != (1.0, 1.0),
                self.flip_p,
                self.cutout_holes,
                self.mixes,
                self.cuts,
            )
        )

    def check(self) -> None:
        require(
            self.blur_kernel % 2 == 1,
            f"--augment.blur-kernel {self.blur_kernel} has no middle: give an odd number",
        )
        require(
            not (self.trivial and self.rand_ops),
            f"--augment.trivial and --augment.rand-ops {self.rand_ops} draw from the same "
            "operations: give only one of them",
        )
