"""Features from photos without labels."""

from dataclasses import replace

from jaxvit.config import (
    AugmentConfig,
    Config,
    DataConfig,
    InstanceConfig,
    ModelConfig,
    OptimConfig,
)
from jaxvit.presets.lab import SMALL

FLOWERS17 = DataConfig(name="flowers17", mean=None, std=None)

FEATURES: dict[str, Config] = {
    # Cao and Wu 2022, at a size that two cores can train. In so few epochs its linear head, smaller
    # views and CutMix learn less than cosines and the contrastive loss, and its colour jitter takes
    # away what tells flowers apart (docs/instance_discrimination.md).
    "flowers17-idmm": Config(
        method="instance_discrimination",
        out="runs/flowers17-idmm",
        epochs=200,
        batch_size=64,
        val_every_epochs=40,
        label_smoothing=0.0,
        select="last",
        keep_memory=True,
        data=replace(FLOWERS17, stored_scale=1.5),
        model=replace(SMALL, embed_dim=192, num_heads=3, num_layers=6, patch_size=16),
        augment=AugmentConfig(
            crop_scale=(0.14, 1.0),
            flip_p=0.5,
            brightness=0.4,
            contrast=0.4,
            saturation=0.2,
            hue=0.05,
            jitter_p=0.8,
            blur_p=0.2,
        ),
        instance=InstanceConfig(
            views=2, z_dim=64, cosine=True, contrastive_weight=1.0, temperature=0.2
        ),
        optim=OptimConfig(lr=1e-3, weight_decay=1e-3, schedule="cosine", warmup=0.01),
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
}
