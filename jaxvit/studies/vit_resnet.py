"""A Vision Transformer against a residual network, from nothing and from pretrained weights."""

from jaxvit.studies.study import TEST_METRICS, Metric, Study

SIZE_AND_SPEED = (
    Metric("parameters", "parameters", ",.0f"),
    Metric("images_per_sec", "images/s", ",.0f"),
)
COMMON = (
    "--epochs", "14", "--batch-size", "64", "--label-smoothing", "0", "--select", "last",
    "--val-every-epochs", "7", "--model.img-size", "32",
    "--augment.pad", "4", "--augment.flip-p", "0.5",
)  # fmt: skip
VIT = (
    "pets-small", *COMMON, "--model.patch-size", "4", "--augment.crop-scale", "1", "1",
    "--augment.mixup-alpha", "0", "--augment.cutmix-alpha", "0",
)  # fmt: skip
RESNET = ("cifar10-resnet18", *COMMON, "--model.width", "16", "--optim.lr", "0.05")
# Shares of the training images that are held out: what is left is 90 and 22.5 %.
FEW = ("--data.val-fraction", "0.775")

# About as many parameters; each with the optimiser that is usual for it. Needs -- --data.name and
# --data.dir of CIFAR-10, or of a folder of such images.
VIT_RESNET = Study(
    name="vit-resnet",
    question="A ViT or a ResNet for small images, from nothing?",
    configurations={
        "resnet": RESNET,
        "vit": VIT,
        "resnet-few": (*RESNET, *FEW),
        "vit-few": (*VIT, *FEW),
    },
    baseline="resnet",
    seeds=3,
    metrics=(*TEST_METRICS, *SIZE_AND_SPEED),
)

PROBE = ("probe", "--data.stored-scale", "1")
WEIGHTS = {
    "resnet18": "hf://timm/resnet18.tv_in1k",
    "deit-tiny": "hf://timm/deit_tiny_patch16_224.fb_in1k",
}

# A new head on frozen weights of ImageNet. Needs -- --data.dir of a folder.
VIT_RESNET_PRETRAINED = Study(
    name="vit-resnet-pretrained",
    question="A ViT or a ResNet under a new head, both pretrained on ImageNet?",
    configurations={
        f"{name}{suffix}": (*PROBE, "--init.weights", weights, *more)
        for suffix, more in (("", ()), ("-few", FEW))
        for name, weights in WEIGHTS.items()
    },
    baseline="resnet18",
    seeds=3,
    metrics=(*TEST_METRICS, *SIZE_AND_SPEED),
)
