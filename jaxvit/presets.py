"""One configuration for each system: where a preset says nothing, the lab's numbers hold."""

from jaxvit.config import AugmentConfig, Config, DataConfig, ModelConfig, OptimConfig
from jaxvit.errors import UserError

PETS = DataConfig(name="oxford_iiit_pet")

PRESETS: dict[str, Config] = {
    # Learns scikit-learn's 8x8 digits on two CPU cores in about a minute; needs no download.
    "digits": Config(
        out="runs/digits",
        epochs=70,
        batch_size=64,
        data=DataConfig(name="digits", val_fraction=0.15, mean=(0.305,), std=(0.376,)),
        model=ModelConfig(
            img_size=8,
            patch_size=2,
            in_channels=1,
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
            warmup_steps=100,
            clip_norm=1.0,
            ema_decay=0.98,
        ),
    ),
    # The lab's numbers exactly: ViT-B/16 at 224, AdamW with PyTorch's defaults, smoothing .1.
    "pets-lab": Config(out="runs/pets-lab", keep_memory=True, data=PETS),
    # Learns Pets at 64 pixels on two CPU cores within ten minutes.
    "pets-small": Config(
        out="runs/pets-small",
        epochs=40,
        batch_size=64,
        keep_memory=True,
        data=PETS,
        model=ModelConfig(
            img_size=64, patch_size=8, embed_dim=128, num_heads=4, num_layers=4, dropout=0.0
        ),
        augment=AugmentConfig(crop_scale=(0.4, 1.0), flip_p=0.5, mixup_alpha=0.2, cutmix_alpha=1.0),
        optim=OptimConfig(
            lr=1e-3, weight_decay=0.05, schedule="cosine", warmup_steps=100, clip_norm=1.0
        ),
    ),
}


def preset(name: str) -> Config:
    """The named preset.

    Raises:
      UserError: there is no such preset.
    """
    if name not in PRESETS:
        raise UserError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
