"""Views: torchvision's draws, replayed by the compiled views; each view has draws of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from jaxvit.augment import pipeline
from jaxvit.augment.blur import BlurDraw
from jaxvit.augment.geometry import CropDraw, FlipDraw
from jaxvit.augment.rotation import RotationDraw
from jaxvit.augment.views import make_row_views, make_views
from jaxvit.config import IMAGENET_MEAN, IMAGENET_STD, AugmentConfig
from parity_tests.instance_discrimination.replayed import PAPER, photographs
from parity_tests.torchvision_draws import colour_draw, recorded
from torch_ref.instance_discrimination.views import Views, blog_augmentation, paper_augmentation

SIZE, VIEWS = 24, 3


def replayed(monkeypatch, steps, config: AugmentConfig, size: int, number: int = 12):
    """(N, V, C, S, S): of torchvision's transforms with draws of their own, and of ours with them.

    Args:
      steps: torchvision's transforms.
      config: ours.
      size: S.
      number: N.
    """
    torch.manual_seed(0)
    pixels = photographs(number).train.images(np.arange(number))
    draws: dict[str, list] = {}
    kinds = (transforms.RandomRotation, transforms.RandomResizedCrop)

    def augmented(image):
        for step in steps:
            name = type(step).__name__
            if name == "RandomApply":
                name += type(step.transforms[0]).__name__
            if isinstance(step, kinds):
                state = torch.get_rng_state()  # get_params alone draws
                if isinstance(step, transforms.RandomRotation):
                    drawn = step.get_params(step.degrees)
                else:
                    drawn = step.get_params(image, step.scale, step.ratio)
                torch.set_rng_state(state)
                image = step(image)
            else:
                state = torch.get_rng_state()
                with recorded() as drawn:
                    image = step(image)
                if name.endswith("GaussianBlur"):
                    after = torch.get_rng_state()
                    torch.set_rng_state(state)
                    applied = torch.rand(1).item() < step.p
                    sigma = transforms.GaussianBlur.get_params(*step.transforms[0].sigma)
                    torch.set_rng_state(after)
                    drawn = (sigma, applied)
            draws.setdefault(name, []).append(drawn)
        return image

    views = Views(augmented, VIEWS)
    expected = torch.stack([views(Image.fromarray(image)) for image in pixels])
    ours = {
        "random_resized_crop": lambda: CropDraw(*jnp.asarray(draws["RandomResizedCrop"]).T),
        "flip": lambda: FlipDraw(jnp.asarray(draws["RandomHorizontalFlip"])[:, 0] < 0.5),
        "rotation": lambda: RotationDraw(jnp.asarray(draws["RandomRotation"], jnp.float32)),
        "colour_jitter": lambda: colour_draw(
            draws.get("RandomApplyColorJitter") or [(0.0, *d) for d in draws["ColorJitter"]],
            config.jitter_p,
        ),
        "grey": lambda: jnp.asarray(draws["RandomGrayscale"])[:, 0] < config.grey_p,
        "blur": lambda: BlurDraw(
            *(jnp.asarray(each) for each in zip(*draws["RandomApplyGaussianBlur"], strict=True))
        ),
    }
    for name, draw in ours.items():
        monkeypatch.setattr(pipeline, f"draw_{name}", lambda *_, draw=draw: draw())
    augment = pipeline.make_augment(config, IMAGENET_MEAN, IMAGENET_STD, size)
    made = jax.jit(make_views(augment, VIEWS))
    found, targets = made(jax.random.key(0), jnp.asarray(pixels), jnp.eye(number))
    assert targets.shape == (number, VIEWS, number)
    assert np.array_equal(targets, np.repeat(np.eye(number)[:, None], VIEWS, axis=1))
    return expected.numpy(), np.asarray(found).transpose(0, 1, 4, 2, 3)


def test_the_blogs_views_are_torchvisions(monkeypatch):
    config = AugmentConfig(rotate=35.0, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    expected, found = replayed(monkeypatch, blog_augmentation().transforms, config, SIZE)
    # A rotation's source in the middle between two pixels may be rounded to either.
    assert (np.abs(expected - found) > 2e-5).mean() < 2e-3


def test_the_papers_views_are_torchvisions(monkeypatch):
    size = 16
    steps = paper_augmentation(size, (0.05, 0.4)).transforms
    config = AugmentConfig(
        crop_scale=(0.05, 0.4), flip_p=0.5, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2,
        jitter_p=0.8, grey_p=0.2, blur_p=0.5,
    )  # fmt: skip
    expected, found = replayed(monkeypatch, steps, config, size)
    # The hue of a nearly grey pixel is a quotient of roundings.
    assert (np.abs(expected - found) > 1e-4).mean() < 2e-3


def test_no_two_views_share_a_draw_and_neighbours_are_of_one_image():
    config = AugmentConfig(rotate=35.0, brightness=0.4)
    augment = pipeline.make_augment(config, (0.5,) * 3, (0.25,) * 3)
    pixels = np.repeat(photographs(1).train.images(np.array([0])), 4, axis=0)
    pixels[2:] = 0
    views, _ = jax.jit(make_views(augment, 3))(jax.random.key(1), jnp.asarray(pixels), jnp.eye(4))
    flat = np.asarray(views[:2]).reshape(6, -1)
    assert len(np.unique(flat.round(4), axis=0)) == 6
    assert np.ptp(np.asarray(views[2:])) < 1e-6  # black stays black: they are of images 2 and 3
    assert np.ptp(flat) > 1


def test_views_of_a_row_depend_on_its_own_key_alone():
    config = AugmentConfig(crop_scale=(0.3, 1.0), brightness=0.4, blur_p=0.5)
    augment = pipeline.make_augment(config, (0.5,) * 3, (0.25,) * 3, 12)
    views = jax.jit(make_row_views(augment, 2))
    pixels = jnp.asarray(photographs(4).train.images(np.arange(4)))
    keys = jax.random.split(jax.random.key(0), 4)
    together = views(keys, pixels)
    assert together.shape == (4, 2, 12, 12, 3)
    backwards = views(keys[::-1], pixels[::-1])[::-1]
    np.testing.assert_allclose(together, backwards, atol=1e-6)
    assert np.abs(np.asarray(together[:, 0] - together[:, 1])).max() > 0.1


def test_cutmix_mixes_all_views_and_its_targets_follow():
    augment = pipeline.make_augment(PAPER.augment, (0.5,) * 3, (0.25,) * 3, SIZE)
    data = photographs(8).train
    images, targets = jax.jit(make_views(augment, 2))(
        jax.random.key(0), jnp.asarray(data.images(np.arange(8))), jnp.eye(8)
    )
    assert images.shape == (8, 2, SIZE, SIZE, 3)
    np.testing.assert_allclose(targets.sum(axis=-1), 1, atol=1e-6)
    assert (np.asarray(targets) > 0).sum(axis=-1).max() == 2
    own = np.asarray(targets)[np.arange(8), :, np.arange(8)]
    assert (own < 1).any()
    assert not np.array_equal(own[:, 0], own[:, 1])
