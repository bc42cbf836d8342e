"""One configuration for each system, and the sizes of named Vision Transformers.

Where a preset says nothing, the lab's numbers hold (see jaxvit.config). What is None follows the
data set, or the number of its images: jaxvit.completion fills it in.
"""

from dataclasses import replace
from typing import NamedTuple

from jaxvit.config import (
    AugmentConfig,
    Config,
    DataConfig,
    InstanceConfig,
    ModelConfig,
    OptimConfig,
    without_foreign_options,
)
from jaxvit.errors import UserError


class Variant(NamedTuple):
    """The size of a named Vision Transformer; mlp_ratio is 4."""

    embed_dim: int
    num_heads: int
    num_layers: int
    patch_size: int


# Source: Dosovitskiy et al. 2021, arXiv:2010.11929, table 1; Touvron et al. 2021, arXiv:2012.12877.
VARIANTS = {
    "vit-ti16": Variant(192, 3, 12, 16),
    "vit-s16": Variant(384, 6, 12, 16),
    "vit-b16": Variant(768, 12, 12, 16),
    "vit-l16": Variant(1024, 16, 24, 16),
}


FOLLOWS_WEIGHTS = DataConfig(
    name="folder", mean=None, std=None, resize=None, crop_share=None, interpolation=None
)
PRETRAINED = ModelConfig(
    name=None, stem=None, width=None, img_size=None, patch_size=None, in_channels=None,
    embed_dim=None, num_heads=None, num_layers=None, mlp_ratio=None, norm_eps=None, gelu=None,
    layer_scale=None, register_tokens=None, qkv_bias=None, patch_norm=None, pool=None, dropout=0.0,
    init="vit",
)  # fmt: skip
PETS = DataConfig(name="oxford_iiit_pet", mean=None, std=None)
FLOWERS17 = DataConfig(name="flowers17", mean=None, std=None)
SMALL = ModelConfig(
    img_size=64,
    patch_size=8,
    in_channels=None,
    embed_dim=128,
    num_heads=4,
    num_layers=4,
    dropout=0.0,
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
STRONG = AugmentConfig(crop_scale=(0.4, 1.0), flip_p=0.5, mixup_alpha=0.2, cutmix_alpha=1.0)

ABOUT = {
    "digits": "8 x 8 digits, embedded: no download, a minute on two cores",
    "folder": "your own photos, DIR/<class>/*.jpg: follows their number",
    "probe": "a new head on frozen pretrained weights: for few photos",
    "finetune": "pretrained weights, trained further on your photos",
    "cifar10-resnet18": "ResNet-18 on CIFAR-10 by SGD: for a GPU",
    "cifar10-graph": "the same with a block of graph attention for a head",
    "cifar10-classic": "the same with a block of classic attention for a head",
    "flowers17-idmm": "features of flowers from photos without labels",
    "flowers17-idmm-blog": "the same with the blog's numbers: for a GPU",
    "pets-small": "a small ViT on Oxford-IIIT Pet at 64 pixels: minutes",
    "pets-b16-384": "ViT-B/16 at 384 on Oxford-IIIT Pet by SGD: for a GPU",
    "pets-lab": "the lab's numbers: ViT-B/16 at 224 on Oxford-IIIT Pet",
}

PRESETS: dict[str, Config] = {
    "digits": Config(
        out="runs/digits",
        epochs=70,
        batch_size=64,
        data=DataConfig(name="digits", val_fraction=0.15, mean=None, std=None),
        model=ModelConfig(
            img_size=None,
            patch_size=None,
            in_channels=None,
            embed_dim=64,
            num_heads=4,
            num_layers=3,
            dropout=0.0,
        ),
        augment=AugmentConfig(crop_scale=(0.75, 1.0), crop_ratio=(0.8, 1.25), mixup_alpha=0.2),
        optim=OptimConfig(
            lr=4e-3,
            weight_decay=0.05,
            schedule="cosine",
            warmup=0.075,
            clip_norm=1.0,
            ema_decay=0.98,
        ),
    ),
    "folder": Config(
        out="runs/folder",
        epochs=None,
        batch_size=None,
        val_every_epochs=None,
        select=None,
        data=DataConfig(name="folder", mean=None, std=None),
        model=replace(SMALL, embed_dim=None, num_heads=None, init=None),
        augment=STRONG,
        optim=OptimConfig(
            lr=1e-3,
            weight_decay=0.05,
            schedule="cosine",
            warmup=0.1,
            clip_norm=1.0,
            decay=None,
            ema_decay=0.99,
        ),
    ),
    "probe": Config(
        out="runs/probe",
        epochs=100,
        batch_size=None,
        val_every_epochs=10,
        select=None,
        label_smoothing=0.0,
        data=replace(FOLLOWS_WEIGHTS, cache_features=True),
        model=PRETRAINED,
        optim=OptimConfig(
            lr=3e-3,
            weight_decay=None,
            schedule="cosine",
            warmup=0.1,
            decay="matrices",
            freeze="backbone",
        ),
    ),
    "finetune": Config(
        out="runs/finetune",
        epochs=None,
        batch_size=32,
        val_every_epochs=None,
        select=None,
        keep_memory=True,
        data=replace(FOLLOWS_WEIGHTS, stored_scale=8 / 7),
        model=PRETRAINED,
        augment=AugmentConfig(crop_scale=(0.25, 1.0), flip_p=0.5),
        optim=OptimConfig(
            lr=2e-4,
            weight_decay=0.05,
            schedule="cosine",
            warmup=0.1,
            clip_norm=1.0,
            decay="matrices",
            layer_decay=0.75,
            head_lr=10.0,
        ),
    ),
    "cifar10-resnet18": CIFAR10,
    "cifar10-graph": replace(
        CIFAR10, out="runs/cifar10-graph", model=replace(RESNET, attention="graph", **BLOCK)
    ),
    "cifar10-classic": replace(
        CIFAR10, out="runs/cifar10-classic", model=replace(RESNET, attention="classic", **BLOCK)
    ),
    # Cao and Wu 2022, at a size that two cores can train.
    "flowers17-idmm": Config(
        method="instance_discrimination",
        out="runs/flowers17-idmm",
        epochs=120,
        batch_size=64,
        val_every_epochs=10,
        label_smoothing=0.1,
        select="last",
        keep_memory=True,
        data=replace(FLOWERS17, stored_scale=1.5),
        model=replace(SMALL, embed_dim=192, num_heads=3, num_layers=6, patch_size=16),
        augment=AugmentConfig(
            crop_scale=(0.14, 1.0),
            flip_p=0.5,
            brightness=0.8,
            contrast=0.8,
            saturation=0.8,
            hue=0.2,
            jitter_p=0.8,
            grey_p=0.2,
            blur_p=0.5,
            cutmix_alpha=0.5,
            cutmix_p=1.0,
        ),
        instance=InstanceConfig(views=2, small_views=4, small_scale=(0.05, 0.4)),
        optim=OptimConfig(lr=5e-4, weight_decay=1e-3, schedule="cosine", warmup=0.01),
    ),
    # Of the blog only the training part of 1,224 photos is used to train: the rest validates.
    "flowers17-idmm-blog": Config(
        method="instance_discrimination",
        out="runs/flowers17-idmm-blog",
        epochs=12,
        batch_size=64,
        val_every_epochs=3,
        label_smoothing=0.0,
        select="last",
        keep_memory=True,
        data=FLOWERS17,
        model=ModelConfig(
            patch_size=32,
            in_channels=None,
            embed_dim=1024,
            num_heads=16,
            num_layers=6,
            mlp_ratio=2.0,
            dropout=0.1,
            attention_dropout=0.1,
            projection_dropout=0.1,
            embedding_dropout=0.1,
            qkv_bias=False,
            patch_norm=True,
        ),
        augment=AugmentConfig(rotate=35.0, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
        instance=InstanceConfig(views=2, z_dim=10, contrastive_weight=1.0),
        optim=OptimConfig(lr=1e-3, weight_decay=0.01),
    ),
    "pets-small": Config(
        out="runs/pets-small",
        epochs=40,
        batch_size=64,
        keep_memory=True,
        data=PETS,
        model=SMALL,
        augment=STRONG,
        optim=OptimConfig(
            lr=1e-3, weight_decay=0.05, schedule="cosine", warmup=0.08, clip_norm=1.0
        ),
    ),
    "pets-b16-384": Config(
        out="runs/pets-b16-384",
        epochs=30,
        batch_size=16,
        label_smoothing=0.0,
        keep_memory=True,
        data=DataConfig(name="oxford_iiit_pet", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        # As pytorch-pretrained-vit has it.
        model=replace(
            PRETRAINED,
            img_size=384,
            dropout=0.1,
            activation_dropout=0.0,
            attention_dropout=0.1,
            projection_dropout=0.1,
        ),
        optim=OptimConfig(
            name="sgd",
            lr=2e-3,
            momentum=0.9,
            weight_decay=0.0,
            schedule="step",
            gamma=0.7,
            step_every_epochs=5,
        ),
    ),
    "pets-lab": Config(
        out="runs/pets-lab", keep_memory=True, data=PETS, model=ModelConfig(in_channels=None)
    ),
}

# The preset of a data set that is named without one.
FOR_DATA = {
    "digits": "digits",
    "cifar10": "cifar10-resnet18",
    "flowers17": "flowers17-idmm",
    "folder": "folder",
    "oxford_iiit_pet": "pets-small",
}


def preset(name: str) -> Config:
    """The named preset.

    Raises:
      UserError: there is no such preset.
    """
    if name not in PRESETS:
        raise UserError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
