"""The laboratory's presets: digits, Pets, and a folder of photos, from random weights."""

from dataclasses import replace

from jaxvit.config import AugmentConfig, Config, DataConfig, ModelConfig, OptimConfig

PETS = DataConfig(name="oxford_iiit_pet", mean=None, std=None)
SMALL = ModelConfig(
    img_size=64,
    patch_size=8,
    in_channels=None,
    embed_dim=128,
    num_heads=4,
    num_layers=4,
    dropout=0.0,
)
STRONG = AugmentConfig(crop_scale=(0.4, 1.0), flip_p=0.5, mixup_alpha=0.2, cutmix_alpha=1.0)

LAB: dict[str, Config] = {
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
    "pets-lab": Config(
        out="runs/pets-lab", keep_memory=True, data=PETS, model=ModelConfig(in_channels=None)
    ),
}
