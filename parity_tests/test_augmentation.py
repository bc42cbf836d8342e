"""The order of augmentations: draws of torchvision's transforms, replayed by the pipeline."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from jaxvit.augment import pipeline
from jaxvit.augment.geometry import FlipDraw
from jaxvit.augment.operations import OperationDraw
from jaxvit.augment.rotation import RotationDraw
from jaxvit.augment.shift import ShiftDraw
from jaxvit.config import IMAGENET_MEAN, IMAGENET_STD, AugmentConfig
from parity_tests.comparison import to_nchw
from parity_tests.torchvision_draws import colour_draw, operation_draw, recorded
from torch_ref import training_pipeline
from torch_ref.augmentation import make_augmentation
from torch_ref.datasets import get_datasets, make_transform
from torch_ref.training_pipeline import AUGMENTATIONS, parse

AUGMENT_DEFAULTS = {
    name: value for name, value in vars(AugmentConfig()).items() if name in AUGMENTATIONS
}
SIZE, NUMBER = 16, 24
OPTIONS = {
    "pad": 3, "flip_p": 0.5, "rotate": 25.0, "brightness": 0.4, "contrast": 0.3, "saturation": 0.2,
    "hue": 0.1, "jitter_p": 0.8, "grey_p": 0.2,
}  # fmt: skip


def photographs(number: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (number, 5, 5, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((SIZE, SIZE))) for c in coarse])


def replayed(monkeypatch, options: dict) -> tuple[np.ndarray, np.ndarray]:
    """Images after torchvision's transforms and normalisation, and after ours with their draws."""
    torch.manual_seed(1)
    pixels = photographs(NUMBER)
    plain = make_transform(SIZE, IMAGENET_MEAN, IMAGENET_STD, True, make_augmentation(SIZE))
    *_, normalise = plain.transforms
    steps = make_augmentation(SIZE, **options).transforms
    expected, draws = [], {type(step).__name__: [] for step in steps}
    for image in map(Image.fromarray, pixels):
        for step in steps:
            kind = type(step)
            if kind in (transforms.RandomCrop, transforms.RandomRotation):
                state = torch.get_rng_state()  # get_params alone draws
                drawn = (
                    step.get_params(transforms.functional.pad(image, step.padding), (SIZE, SIZE))
                    if kind is transforms.RandomCrop
                    else step.get_params(step.degrees)
                )
                torch.set_rng_state(state)
                image = step(image)
            else:
                with recorded() as drawn:
                    image = step(image)
            draws[kind.__name__].append(drawn)
        expected.append(normalise(image))
    ours = {
        "shift": lambda: ShiftDraw(*jnp.asarray([d[:2] for d in draws["RandomCrop"]]).T),
        "flip": lambda: FlipDraw(jnp.asarray(draws["RandomHorizontalFlip"])[:, 0] < 0.5),
        "rotation": lambda: RotationDraw(jnp.asarray(draws["RandomRotation"], jnp.float32)),
        "trivial_augment": lambda: operation_draw(draws["TrivialAugmentWide"]),
        "rand_augment": lambda: OperationDraw(
            *(x[None] for x in operation_draw(draws["RandAugment"], options["rand_magnitude"]))
        ),
        "colour_jitter": lambda: colour_draw(draws["RandomApply"], options["jitter_p"]),
        "grey": lambda: jnp.asarray(draws["RandomGrayscale"])[:, 0] < options["grey_p"],
    }
    for name, draw in ours.items():
        monkeypatch.setattr(pipeline, f"draw_{name}", lambda *_, draw=draw: draw())
    augment = pipeline.make_augment(AugmentConfig(**options), IMAGENET_MEAN, IMAGENET_STD)
    found, _ = augment(jax.random.key(0), jnp.asarray(pixels), jnp.eye(NUMBER))
    return torch.stack(expected).numpy(), to_nchw(found)


@pytest.mark.parametrize(
    "more", [{"trivial": True}, {"rand_ops": 1, "rand_magnitude": 17}], ids=["trivial", "rand"]
)
def test_replayed_draws_give_the_images_of_torchvisions_transforms_in_that_order(monkeypatch, more):
    expected, found = replayed(monkeypatch, OPTIONS | more)
    # A rotation's source in the middle between two pixels may be rounded to either.
    assert (np.abs(expected - found) > 2e-5).mean() < 2e-3


def test_without_options_it_is_totensor():
    for pixels in photographs(3):
        image = Image.fromarray(pixels)
        assert torch.equal(make_augmentation(SIZE)(image), transforms.ToTensor()(image))


def test_training_images_alone_are_augmented_and_every_option_of_the_command_arrives():
    options = parse(["--pad", "2", "--rotate", "5", "--trivial", "--contrast", ".1"])
    given = {name: getattr(options, name) for name in AUGMENTATIONS}
    assert given == AUGMENT_DEFAULTS | {"pad": 2, "rotate": 5, "trivial": True, "contrast": 0.1}
    augmented = get_datasets("digits", img_size=8, augmentation=make_augmentation(8, pad=4))
    plain = get_datasets("digits", img_size=8)
    for name, ours, theirs in zip(("train", "val", "test"), augmented, plain, strict=False):
        same = [torch.equal(ours[n][0], theirs[n][0]) for n in range(20)]
        assert all(same) == (name != "train")
        assert [ours[n][1] for n in range(20)] == [theirs[n][1] for n in range(20)]


def test_the_command_trains_on_images_so_augmented(monkeypatch, tmp_path):
    class Stop(Exception):
        pass

    def stop(*_, augmentation, **options):
        first, crop, *_ = augmentation.transforms
        assert (type(crop), crop.padding) == (transforms.RandomCrop, 2)
        raise Stop

    monkeypatch.setattr(training_pipeline, "get_dataloaders", stop)
    with pytest.raises(Stop):
        training_pipeline.train(parse(["--pad", "2", "--out", str(tmp_path)]))
