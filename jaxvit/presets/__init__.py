"""One configuration for each system, in a file for each part of the project.

Where a preset says nothing, the lab's numbers hold (see jaxvit.config). What is None follows the
data set, or the number of its images: jaxvit.completion fills it in.
"""

from jaxvit.config import Config
from jaxvit.errors import UserError
from jaxvit.presets.generation import GENERATORS
from jaxvit.presets.instance_discrimination import FEATURES
from jaxvit.presets.lab import LAB
from jaxvit.presets.pretrained import FROM_WEIGHTS
from jaxvit.presets.survey import SURVEY

ABOUT = {
    "digits": "8 x 8 digits, embedded: no download, a minute on two cores",
    "folder": "your own photos, DIR/<class>/*.jpg: follows their number",
    "probe": "a new head on frozen pretrained weights: for few photos",
    "finetune": "pretrained weights, trained further on your photos",
    "cifar10-resnet18": "ResNet-18 on CIFAR-10 by SGD: for a GPU",
    "cifar10-graph": "ResNet-18 with a block of graph attention: for a GPU",
    "cifar10-classic": "ResNet-18 with a block of classic attention: for a GPU",
    "flowers17-idmm": "features of flowers from photos without labels",
    "flowers17-idmm-blog": "features of flowers with the blog's numbers: for a GPU",
    "digits-dcgan": "digits made by a DCGAN: half a minute on two cores",
    "digits-ddpm": "digits made by diffusion (DDPM): three minutes",
    "flowers17-ddpm": "flowers of 32 pixels made by diffusion: hours",
    "cifar10-dcgan": "a DCGAN on CIFAR-10: for a GPU",
    "cifar10-ddpm": "DDPM on CIFAR-10 with the paper's network: for a GPU",
    "pets-small": "a small ViT on Oxford-IIIT Pet at 64 pixels: minutes",
    "pets-b16-384": "ViT-B/16 at 384 on Oxford-IIIT Pet by SGD: for a GPU",
    "pets-lab": "the lab's ViT-B/16 at 224 on Oxford-IIIT Pet: for a GPU",
}

_ALL = LAB | FROM_WEIGHTS | SURVEY | FEATURES | GENERATORS
PRESETS: dict[str, Config] = {name: _ALL[name] for name in ABOUT}

# The preset of a data set that is named without one.
FOR_DATA = {
    "digits": "digits",
    "cifar10": "cifar10-resnet18",
    "flowers17": "flowers17-idmm",
    "folder": "folder",
    "oxford_iiit_pet": "pets-small",
}


def preset(name: str) -> Config:
    """The named preset.

    Raises:
      UserError: there is no such preset.
    """
    if name not in PRESETS:
        raise UserError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
