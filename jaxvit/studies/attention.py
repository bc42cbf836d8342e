"""The four rows of the survey's table of attention blocks, and the same on ImageNet's weights."""

from jaxvit.studies.study import TEST_METRICS, Metric, Study

METRICS = (*TEST_METRICS, Metric("images_per_sec", "images/s", ",.0f"))
SMALL = (
    "--model.img-size", "32", "--model.width", "16", "--batch-size", "64", "--optim.lr", "0.05",
    "--select", "last", "--val-every-epochs", "4",
)  # fmt: skip
# The network of the first row, of the same seed, frozen.
FROZEN = ("--init.weights", "{resnet18}", "--optim.freeze", "backbone", "--epochs", "4")

# Needs -- --data.name and --data.dir of CIFAR-10, or of a folder of such images.
ATTENTION_BLOCKS = Study(
    name="attention-blocks",
    question="Does a block of attention help a small ResNet?",
    configurations={
        "resnet18": ("cifar10-resnet18", *SMALL, "--epochs", "12"),
        "graph": ("cifar10-graph", *SMALL, "--epochs", "12"),
        "pretrained+graph": ("cifar10-graph", *SMALL, *FROZEN),
        "pretrained+classic": ("cifar10-classic", *SMALL, *FROZEN),
    },
    baseline="resnet18",
    seeds=3,
    metrics=METRICS,
)

IMAGENET = (
    "--model.stem", "imagenet", "--model.img-size", "64", "--optim.freeze", "backbone",
    "--epochs", "8", "--batch-size", "64", "--optim.lr", "0.05", "--select", "last",
    "--val-every-epochs", "4",
)  # fmt: skip

# Besides, -- --init.weights PATH of torchvision's ResNet-18.
ATTENTION_BLOCKS_IMAGENET = Study(
    name="attention-blocks-imagenet",
    question="Does a block of attention help on ImageNet's frozen ResNet-18?",
    configurations={
        "head": ("cifar10-resnet18", *IMAGENET),
        "graph": ("cifar10-graph", *IMAGENET),
        "classic": ("cifar10-classic", *IMAGENET),
    },
    baseline="head",
    seeds=3,
    metrics=METRICS,
)
