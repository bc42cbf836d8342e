"""Generated images: do they help a classifier of few images?"""

from jaxvit.studies.study import Metric, Study

ACCURACY = (Metric("test/accuracy", "accuracy", ".2%", optional=True),)
STEPS = {"generator": 2000, "classifier": 1400}  # whatever the number of images
BATCH = {"generator": 64, "classifier": 32}


def _epochs(images: int, of: str) -> tuple[str, ...]:
    """Options that train for so many steps and validate four times."""
    batch = min(BATCH[of], images)
    epochs = max(4, round(STEPS[of] * batch / images))
    return (
        "--batch-size", str(batch), "--epochs", str(epochs),
        "--val-every-epochs", str(max(1, epochs // 4)),
    )  # fmt: skip


def _study(
    name: str,
    images: int,
    what: str,
    generators: dict[str, tuple[str, ...]],
    classifier: tuple[str, ...],
    plain: tuple[str, ...],
) -> Study:
    """A classifier with the usual augmentation, without, and with images of each generator.

    Args:
      name: of the study.
      images: to train on.
      what: they are, for the question.
      generators: options of dcgan and of ddpm.
      classifier: options, without its steps.
      plain: options that turn augmentation off.
    """
    usual = (*classifier, *_epochs(images, "classifier"), "--select", "last")
    # Half of the images are generated, so half of the epochs are as many steps.
    mixed = (*classifier, *_epochs(2 * images, "classifier"), "--select", "last")
    share = ("--data.extra-share", "0.5")
    steps = _epochs(images, "generator")
    return Study(
        name=name,
        question=f"Do generated images help a classifier of {what}?",
        configurations={
            **{label: (*options, *steps) for label, options in generators.items()},
            "nothing": (*usual, *plain),
            "usual": usual,
            "+dcgan": (*mixed, "--data.extra-dir", "{dcgan}", *share),
            "+ddpm": (*mixed, "--data.extra-dir", "{ddpm}", *share),
            "+both": (*mixed, "--data.extra-dir", "{dcgan}", "{ddpm}", *share),
        },
        baseline="usual",
        seeds=3,
        metrics=ACCURACY,
        follow_seed=("--data.split-seed",),
    )


def of_digits(per_class: int | None) -> Study:
    """Digits, with so many images of each class to train on; None for all."""
    few = ("--data.train-per-class", str(per_class)) if per_class else ()
    return _study(
        f"generated-digits-{per_class or 'all'}",
        10 * per_class if per_class else 1221,
        f"{per_class or 'all'} digits a class",
        {"dcgan": ("digits-dcgan", *few), "ddpm": ("digits-ddpm", *few)},
        ("digits", *few),
        ("--augment.crop-scale", "1", "1", "--augment.mixup-alpha", "0"),
    )


GENERATED_DIGITS = tuple(map(of_digits, (5, 10, 20, None)))
FLOWERS = ("--data.name", "flowers17", "--model.img-size", "32")
# Of 1,360 photos a tenth tests and a tenth of the others validates. The U-Net has half the width of
# the preset's, and averages a part of the 2,000 steps: by the preset's .999 its samples are noise.
# Needs -- --data.dir of Flowers-17.
GENERATED_FLOWERS17 = _study(
    "generated-flowers17",
    1105,
    "all photos of Flowers-17, at 32 pixels",
    {
        "dcgan": ("cifar10-dcgan", *FLOWERS),
        "ddpm": ("flowers17-ddpm", *FLOWERS, "--model.width", "32", "--optim.ema-decay", "0.995"),
    },
    ("pets-small", *FLOWERS, "--model.patch-size", "4"),
    (
        "--augment.crop-scale", "1", "1", "--augment.flip-p", "0", "--augment.mixup-alpha", "0",
        "--augment.cutmix-alpha", "0",
    ),
)  # fmt: skip
