"""The studies that python -m jaxvit study knows by name."""

from pathlib import Path

from jaxvit.errors import UserError
from jaxvit.studies.attention import ATTENTION_BLOCKS, ATTENTION_BLOCKS_IMAGENET
from jaxvit.studies.generated import GENERATED_DIGITS, GENERATED_FLOWERS17
from jaxvit.studies.instances import INSTANCES
from jaxvit.studies.smoothing import SMOOTHING, SMOOTHING_PETS
from jaxvit.studies.study import Study, read_study
from jaxvit.studies.tricks import TRICKS
from jaxvit.studies.vit_resnet import VIT_RESNET, VIT_RESNET_PRETRAINED

STUDIES = (
    SMOOTHING,
    SMOOTHING_PETS,
    VIT_RESNET,
    VIT_RESNET_PRETRAINED,
    TRICKS,
    ATTENTION_BLOCKS,
    ATTENTION_BLOCKS_IMAGENET,
    INSTANCES,
    *GENERATED_DIGITS,
    GENERATED_FLOWERS17,
)


def find_study(name: str) -> Study:
    """A study of this file, or of a file of the user's that ends in .py; checked.

    Raises:
      UserError: there is none.
    """
    known = {study.name: study for study in STUDIES}
    if name.endswith(".py"):
        found = read_study(Path(name))
    elif name in known:
        found = known[name]
    else:
        raise UserError(
            f"unknown study {name!r}: choose one of {', '.join(known)}, or give a .py file that "
            "defines STUDY"
        )
    found.check()
    return found
