"""The survey's presets: ResNet-18 on CIFAR-10, alone and with a block of attention."""

from dataclasses import replace

from jaxvit.config import (
    AugmentConfig,
    Config,
    DataConfig,
    ModelConfig,
    OptimConfig,
    without_foreign_options,
)

RESNET = replace(
    without_foreign_options(ModelConfig(name="resnet18", stem="cifar")),
    img_size=None,
    in_channels=None,
)
BLOCK = {"patch_size": 1, "embed_dim": 256, "num_heads": 1, "mlp_ratio": 4.0, "dropout": 0.1}
CIFAR10 = Config(
    out="runs/cifar10-resnet18",
    epochs=50,
    batch_size=128,
    label_smoothing=0.0,
    keep_memory=True,
    data=DataConfig(name="cifar10", mean=None, std=None),
    model=RESNET,
    augment=AugmentConfig(pad=4, flip_p=0.5),
    optim=OptimConfig(
        name="sgd",
        lr=0.1,
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
        schedule="cosine",
        warmup=0.05,
    ),
)

SURVEY: dict[str, Config] = {
    "cifar10-resnet18": CIFAR10,
    "cifar10-graph": replace(
        CIFAR10, out="runs/cifar10-graph", model=replace(RESNET, attention="graph", **BLOCK)
    ),
    "cifar10-classic": replace(
        CIFAR10, out="runs/cifar10-classic", model=replace(RESNET, attention="classic", **BLOCK)
    ),
}
