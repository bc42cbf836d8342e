"""Where training starts from."""

from dataclasses import dataclass
from typing import Literal

from jaxvit.config.checks import not_empty, option


@dataclass(frozen=True)
class InitConfig:
    """Where training starts from."""

    # Pretrained weights: a .safetensors or .npz file, a directory of Hugging Face or timm, one of
    # our runs, or hf://OWNER/NAME. The model is theirs, with a new head. A resumed run compares the
    # weights, not the name.
    weights: str | None = option(None, not_empty, may_change=True)
    # How the tensors of the file are named; None recognises it.
    layout: (
        Literal["timm", "hf", "google", "lukemelas", "vit_pytorch", "torchvision", "lab"] | None
    ) = None
    # Settings of the weights as NAME=VALUE, over those that are found: num_heads, norm_eps, gelu,
    # pool, mean, std, resize, crop_share, interpolation.
    weights_option: tuple[str, ...] = ()
