"""Augmentation."""

import math
from dataclasses import dataclass

from jaxvit.config.checks import count, option, span, within


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentation in the compiled step."""

    # Area of the random resized crop, as a range of fractions of the image's; 1 1 disables it.
    crop_scale: tuple[float, float] = option((1.0, 1.0), span(0, 1, " of shares"))
    # Range of the crop's width over its height.
    crop_ratio: tuple[float, float] = option((3 / 4, 4 / 3), span(0, math.inf, ""))
    flip_p: float = option(0.0, within(0, 1))  # Probability of a horizontal flip.
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
