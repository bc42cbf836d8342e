"""What label smoothing does to accuracy, likelihood, calibration and confidence."""

from jaxvit.studies.study import Study

EPSILONS = ("0", "0.05", "0.1", "0.2", "0.4")

# Without Mixup, which softens the targets too.
SMOOTHING = Study(
    name="smoothing",
    question="What does label smoothing do to a small ViT on digits?",
    configurations={
        epsilon: ("digits", "--augment.mixup-alpha", "0", "--label-smoothing", epsilon)
        for epsilon in EPSILONS
    },
    baseline="0",
    reliability=True,
)

# Needs -- --data.dir DIR --init.weights PATH.
SMOOTHING_PETS = Study(
    name="smoothing-pets",
    question="What does label smoothing do to a probe on Oxford-IIIT Pet?",
    configurations={
        epsilon: ("probe", "--data.name", "oxford_iiit_pet", "--label-smoothing", epsilon)
        for epsilon in EPSILONS
    },
    baseline="0",
    seeds=3,
    reliability=True,
)
