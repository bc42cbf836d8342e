"""What each trick of the survey of CIFAR-10 techniques adds to a small ResNet."""

from jaxvit.studies.study import Study

BASELINE = (
    "cifar10-resnet18", "--model.img-size", "32", "--model.width", "16", "--epochs", "10",
    "--batch-size", "64", "--select", "last", "--val-every-epochs", "5",
    "--optim.lr", "0.05", "--optim.schedule", "constant", "--optim.warmup", "0",
    "--augment.pad", "0", "--augment.flip-p", "0",
)  # fmt: skip
AUGMENTED = (*BASELINE, "--augment.pad", "4", "--augment.flip-p", "0.5")
SCHEDULED = (*AUGMENTED, "--optim.schedule", "cosine", "--optim.warmup", "0.05")

# Each of the first three stands on the one before; the last three stand on +schedule. Needs
# -- --data.name and --data.dir of CIFAR-10, or of a folder of such images.
TRICKS = Study(
    name="tricks",
    question="What does each trick add to a small ResNet?",
    configurations={
        "baseline": BASELINE,
        "+augmentation": AUGMENTED,
        "+schedule": SCHEDULED,
        "+ema": (*SCHEDULED, "--optim.ema-decay", "0.98"),
        "+swa": (
            *SCHEDULED, "--optim.swa-start", "0.75", "--optim.swa-lr", "0.02",
            "--optim.swa-anneal-epochs", "1",
        ),
        "+mixing": (*SCHEDULED, "--augment.mixup-alpha", "0.2", "--augment.cutmix-alpha", "1"),
    },
    baseline="+schedule",
    seeds=3,
)  # fmt: skip
