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


def of_digits(per_class: int | None) -> Study:
    """Digits, with so many images of each class to train on; None for all."""
    images = 10 * per_class if per_class else 1221
    few = ("--data.train-per-class", str(per_class)) if per_class else ()
    classifier = ("digits", *few, *_epochs(images, "classifier"), "--select", "last")
    generator = (*few, *_epochs(images, "generator"))
    plain = ("--augment.crop-scale", "1", "1", "--augment.mixup-alpha", "0")
    # Half of the images are generated, so half of the epochs are as many steps.
    mixed = ("digits", *few, *_epochs(2 * images, "classifier"), "--select", "last")
    share = ("--data.extra-share", "0.5")
    return Study(
        name=f"generated-digits-{per_class or 'all'}",
        question=f"Do generated images help a classifier of {per_class or 'all'} digits a class?",
        configurations={
            "dcgan": ("digits-dcgan", *generator),
            "ddpm": ("digits-ddpm", *generator),
            "nothing": (*classifier, *plain),
            "usual": classifier,
            "+dcgan": (*mixed, "--data.extra-dir", "{dcgan}", *share),
            "+ddpm": (*mixed, "--data.extra-dir", "{ddpm}", *share),
            "+both": (*mixed, "--data.extra-dir", "{dcgan}", "{ddpm}", *share),
        },
        baseline="usual",
        seeds=3,
        metrics=ACCURACY,
        follow_seed=("--data.split-seed",),
    )


GENERATED_DIGITS = tuple(map(of_digits, (5, 10, 20, None)))
